"""``lightning-nas derive``."""

from pathlib import Path

import torch

from lightning_nas.architecture import Architecture
from lightning_nas.plotting import plot_cells, save_figure, to_dot
from lightning_nas.spaces.registry import SPACES, get_space


def read_checkpoint(path: Path) -> Architecture:
    """Return the architecture that was derived when a search saved this checkpoint.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no checkpoint, or one of something else than a search.
    """
    if not path.is_file():
        raise FileNotFoundError(f"Expected a checkpoint but found no file {path}")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a file that is none of its own
        raise ValueError(f"Expected {path} to be a Lightning checkpoint but it cannot be read: {error}") from error
    if "architecture" not in checkpoint:
        raise ValueError(f"Expected {path} to be the checkpoint of a search but it holds no architecture")
    return Architecture.from_dict(checkpoint["architecture"])


def run_derive(checkpoint: Path, output_dir: Path | None) -> None:
    """Write ``architecture.json`` and drawings of its cells, beside the checkpoint unless told otherwise."""
    architecture = read_checkpoint(checkpoint)
    folder = output_dir or checkpoint.parent
    architecture.save(folder / "architecture.json")
    for name, value in architecture.values.items():
        print(f"{name:32} {value}")
    print(f"Written: {folder / 'architecture.json'}{_draw(architecture, folder)}")


def _draw(architecture: Architecture, folder: Path) -> str:
    if architecture.space.partition("?")[0] not in SPACES:  # a model of the user's
        return f" (not drawn: {architecture.space!r} is a space of your own)"
    graphs = get_space(architecture.space).graph(architecture)
    figure = plot_cells(graphs)
    for suffix in ("png", "svg"):
        save_figure(figure, folder / f"cells.{suffix}")
    (folder / "cells.dot").write_text(to_dot(graphs), encoding="utf-8")
    return ", cells.png, cells.svg, cells.dot"
