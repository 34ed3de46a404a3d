"""Metrics over epochs, compute or seconds: a panel per metric, a line per arm, a band over its seeds."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from sbp.plots.panels import Panels, panel_title
from sbp.plots.style import FAINT_TEXT, LABEL_SIZE, run_style, style_axes
from sbp.report.curves import Axis, Curve, band, by_label

AXIS_NAMES: dict[str, str] = {
    "epoch": "epoch",
    "compute": "compute (baseline epochs)",
    "seconds": "seconds of scoring, training and waiting for data",
}
SHARED_LIMITS = "val/map"
"""Metrics that begin with it share their vertical axis."""


def curves_figure(
    curves: Sequence[Curve],
    metrics: Mapping[str, str],
    x: Axis,
    *,
    title: str,
    about: str = "",
    log_y: bool = False,
) -> Figure:
    """A figure 1000 pixels wide. metrics: key to panel title.

    Lines are means over seeds, bands go from the lowest to the highest seed. An arm without any data is
    named in the legend. Raises ValueError without curves or metrics.
    """
    if not curves or not metrics:
        raise ValueError(f"curves_figure needs curves ({len(curves)} given) and metrics ({list(metrics)})")
    groups = by_label(curves)
    styles = {label: line_style(number) for number, label in enumerate(groups)}
    known = {label: any(band(members, metric, x) for metric in metrics) for label, members in groups.items()}
    labels = [label if known[label] else f"{label} (no data)" for label in groups]
    seeds = max(len(members) for members in groups.values())
    if seeds > 1 and not about:
        about = f"Line: mean of up to {seeds} seeds; band: lowest to highest."
    panels = Panels(len(metrics), title, about, labels, list(styles.values()))
    axes_of = {}
    for index, (metric, name) in enumerate(metrics.items()):
        axes = axes_of[metric] = panels.axes(index)
        draw_bands(axes, groups, styles, metric, x)
        if log_y:
            axes.set_yscale("log")
        finish(axes, name, AXIS_NAMES[x])
    _share_limits([axes for metric, axes in axes_of.items() if metric.startswith(SHARED_LIMITS)])
    return panels.figure


def line_style(number: int) -> dict[str, Any]:
    """Keyword arguments of the line of the arm at `number`."""
    colour, dash = run_style(number)
    return {"color": colour, "linestyle": dash, "linewidth": 1.9}


def draw_bands(
    axes: Axes, groups: Mapping[str, Sequence[Curve]], styles: Mapping[str, dict], metric: str, x: Axis
) -> bool:
    """Draw a metric of every group; says so in the axes, and returns False, if there is none."""
    drawn = False
    for depth, (label, members) in enumerate(groups.items()):
        found = band(members, metric, x)
        if found is None:
            continue
        drawn = True
        grid, mean, low, high = found
        style = styles[label]
        if len(members) > 1:
            axes.fill_between(grid, low, high, color=style["color"], alpha=0.13, linewidth=0, zorder=2)
        axes.plot(grid, mean, zorder=3 + 0.1 * depth, solid_capstyle="round", **style)
        axes.plot(
            grid[-1:], mean[-1:], marker="o", markersize=5.5, color=style["color"], markeredgecolor="white",
            markeredgewidth=0.9, zorder=5 + 0.1 * depth, clip_on=False,
        )  # fmt: skip
    if not drawn:
        axes.text(0.5, 0.5, "no data", transform=axes.transAxes, ha="center", color=FAINT_TEXT)
    return drawn


def finish(axes: Axes, title: str, x_name: str) -> None:
    """Ticks, grid, title and the name of the horizontal axis."""
    style_axes(axes)
    if axes.get_yscale() == "linear":
        axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
        axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.set_xlim(left=0)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=x_name == AXIS_NAMES["epoch"]))
    panel_title(axes, title)
    axes.set_xlabel(x_name, fontsize=LABEL_SIZE, labelpad=3)


def _share_limits(axes: Sequence[Axes]) -> None:
    if axes and axes[0].get_yscale() == "linear":
        top = float(np.max([a.get_ylim()[1] for a in axes]))
        for a in axes:
            a.set_ylim(0, top)
