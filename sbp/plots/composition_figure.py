"""What each arm trained on, epoch by epoch: how many images, and of which kind."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from sbp.plots.curve import Curve, by_label
from sbp.plots.style import WIDTH, framed_figure, group_colours, styled, swatch, wrapped

SEVERAL_COLOUR = "#444444"
ROW_HEIGHT = 175


def shares(curve: Curve, defects: Sequence[str]) -> np.ndarray:
    """(2 + D, T) shares of the images trained on: healthy, each defect alone, several defects."""
    keys = ["train/share/healthy", *(f"train/share/{d}" for d in defects), "train/share/several"]
    return np.stack([np.nan_to_num(np.asarray(curve.values[key], dtype=float)) for key in keys])


@styled
def composition_figure(curves: Sequence[Curve], defects: Sequence[str], *, title: str) -> Figure:
    """Two panels per arm: above, the stack is the kept share of all images; below, of those kept.

    The first seed of each arm is shown. Needs train/kept_fraction and train/share/... Raises ValueError
    without curves.
    """
    if not curves:
        raise ValueError("composition_figure needs curves")
    firsts = [members[0] for members in by_label(curves).values()]
    colours = [*group_colours(len(defects)), SEVERAL_COLOUR]
    columns = min(len(firsts), 4)
    blocks = -(-len(firsts) // columns)
    about = "Above: share of all training images; below: of those trained on. First seed."
    keys = [swatch(colour, facecolor=colour) for colour in colours]
    names = ["healthy", *defects, "several defects"]
    figure, (body,) = framed_figure(WIDTH, [2 * blocks * ROW_HEIGHT], title, about, keys, names)
    grid = body.add_gridspec(2 * blocks, columns)
    for number, curve in enumerate(firsts):
        block, column = divmod(number, columns)
        upper, lower = (body.add_subplot(grid[2 * block + row, column]) for row in (0, 1))
        mix = shares(curve, defects)
        kept = np.nan_to_num(np.asarray(curve.values["train/kept_fraction"], dtype=float))
        _stack(upper, curve, mix * kept, colours)
        upper.set_title(wrapped(curve.label, WIDTH / columns - 60))
        highest = float(kept[1:].max()) if len(kept) > 1 else float(kept.max(initial=0.0))
        upper.set_ylim(0, min(1.0, 1.15 * highest) or 1.0)  # the first epoch trains on everything
        _stack(lower, curve, mix, colours)
        lower.set_ylim(0, 1)
        lower.set_xlabel("epoch")
    return figure


def _stack(axes: Axes, curve: Curve, heights: np.ndarray, colours: Sequence[str]) -> None:
    edges = np.append(curve.epoch, curve.epoch[-1] + 1) if len(curve.epoch) else np.array([0, 1])
    bottom = np.zeros(heights.shape[1])
    for row, colour in zip(heights, colours, strict=True):
        axes.stairs(bottom + row, edges, baseline=bottom, fill=True, color=colour, linewidth=0, zorder=2)
        bottom = bottom + row
    axes.grid(False, axis="x")
    axes.set_xlim(edges[0], edges[-1])
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
