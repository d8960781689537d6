"""Pictures of what is searched and of what is found. Figures belong to no backend: they need no display, no closing."""

from lightning_nas.plotting.cells import plot_cells, to_dot
from lightning_nas.plotting.save import save_figure

__all__ = ["plot_cells", "save_figure", "to_dot"]
