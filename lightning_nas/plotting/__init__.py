"""Pictures of what is searched and of what is found. Figures belong to no backend: they need no display, no closing."""

from lightning_nas.plotting.cells import plot_cells
from lightning_nas.plotting.dot import to_dot
from lightning_nas.plotting.families import plot_family
from lightning_nas.plotting.front_points import FrontPoints
from lightning_nas.plotting.fronts import plot_fronts
from lightning_nas.plotting.grown_model import GrownModel
from lightning_nas.plotting.growth import plot_hull_growth
from lightning_nas.plotting.networks import plot_network
from lightning_nas.plotting.predictions import plot_predictions
from lightning_nas.plotting.published import published_points
from lightning_nas.plotting.save import save_figure
from lightning_nas.plotting.series import Series
from lightning_nas.plotting.trajectories import plot_trajectories
from lightning_nas.plotting.weights import plot_weights

__all__ = [
    "FrontPoints",
    "GrownModel",
    "Series",
    "plot_cells",
    "plot_family",
    "plot_fronts",
    "plot_hull_growth",
    "plot_network",
    "plot_predictions",
    "plot_trajectories",
    "plot_weights",
    "published_points",
    "save_figure",
    "to_dot",
]
