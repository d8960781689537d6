"""Pictures of what predictors are worth."""

from collections.abc import Hashable, Sequence

import numpy as np
import torch
from matplotlib.figure import Figure

from lightning_nas.plotting.palette import LINE, marker_look
from lightning_nas.plotting.quantities import Quantity, write_axis
from lightning_nas.plotting.style import add_legend, own_style, settle
from lightning_nas.predictors.correlation import spearman


def plot_predictions(
    predicted: Sequence[float], measured: Sequence[float], groups: Sequence[Hashable] | None = None
) -> Figure:
    """Draw what was measured over what was predicted, with Spearman's rank correlation in the title.

    On the diagonal both are equal. Pairs with NaN or an infinite value are left out.

    Args:
        predicted: The predicted score of each architecture.
        measured: Its score when it was trained.
        groups: What its colour tells, e.g. the number of blocks in a search that goes level by level.

    Raises:
        ValueError: If the lengths differ, or there is no pair of numbers.
    """
    names = ["architectures"] * len(predicted) if groups is None else list(map(str, groups))
    if not len(predicted) == len(measured) == len(names):
        lengths = (len(predicted), len(measured), len(names))
        raise ValueError(f"Expected as many predicted as measured scores and groups but got {lengths}")
    pairs = np.array([predicted, measured], float)
    finite = np.isfinite(pairs).all(axis=0)
    if not finite.any():
        raise ValueError(f"Expected at least one pair of finite scores but got none among {len(names)}")
    pairs, names = pairs[:, finite], [name for name, kept in zip(names, finite, strict=True) if kept]
    with own_style():
        figure = Figure((6.4, 6.2), layout="constrained")
        axes = figure.add_subplot(aspect="equal")
        axes.axline((pairs.min(), pairs.min()), slope=1, color=LINE, linestyle="--", linewidth=1.2, zorder=1)
        for index, name in enumerate(dict.fromkeys(names)):
            color, marker = marker_look(index)
            chosen = pairs[:, [name == other for other in names]]
            axes.scatter(chosen[0], chosen[1], 26, color, marker=marker, alpha=0.75, linewidths=0, label=name)
        write_axis(axes, "x", Quantity("predicted"))
        write_axis(axes, "y", Quantity("measured"))
        margin = 0.05 * (np.ptp(pairs) or 1.0)
        axes.set(xlim=(limits := (pairs.min() - margin, pairs.max() + margin)), ylim=limits)
        axes.set_title(
            f"Spearman correlation {spearman(*map(torch.tensor, pairs.tolist())):.3f} of {len(names)} architectures"
        )
        add_legend(figure, axes.collections if groups is not None else [])
        settle(figure)
    return figure
