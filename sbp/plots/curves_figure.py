"""Metrics over epochs, compute or seconds: a panel per metric, a line per arm, a band over its seeds."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from sbp.plots.curve import Axis, Curve, band, by_label
from sbp.plots.style import FAINT_TEXT, WIDTH, fitting, framed_figure, run_style, styled

AXIS_NAMES: dict[str, str] = {
    "epoch": "epoch",
    "compute": "compute (baseline epochs)",
    "seconds": "seconds of scoring, training and waiting for data",
    "images": "images annotated",
    "defects": "defects outlined",
}
SHARED_LIMITS = ("val/map", "labelled/map")
"""Metrics that begin with it share their vertical axis."""
PANEL_HEIGHT = 268
"""Pixels of a row of panels, with its texts."""


@styled
def curves_figure(
    curves: Sequence[Curve],
    metrics: Mapping[str, str],
    x: Axis,
    *,
    title: str,
    log_y: bool = False,
) -> Figure:
    """A figure 1000 pixels wide. metrics: key to panel title.

    Lines are means over seeds, bands go from the lowest to the highest seed. An arm without any data is
    named in the legend. Raises ValueError without curves or metrics.
    """
    if not curves or not metrics:
        raise ValueError(f"curves_figure needs curves ({len(curves)} given) and metrics ({list(metrics)})")
    groups = by_label(curves)
    styles = line_styles(groups)
    known = {label: any(band(members, metric, x) for metric in metrics) for label, members in groups.items()}
    labels = [label if known[label] else f"{label} (no data)" for label in groups]
    height = PANEL_HEIGHT * rows_and_columns(len(metrics))[0]
    head = (title, seeds_text(groups), legend_lines(styles), labels)
    figure, (body,) = framed_figure(WIDTH, [height], *head)
    draw_panels(body, groups, styles, metrics, x, log_y)
    return figure


def seeds_text(groups: Mapping[str, Sequence[Curve]]) -> str:
    """What lines and bands are; empty if every arm has one seed."""
    seeds = max(len(members) for members in groups.values())
    return f"Line: mean of up to {seeds} seeds; band: lowest to highest." if seeds > 1 else ""


def line_styles(labels: Sequence[str] | Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Keyword arguments of the line of each arm."""
    styles = {label: run_style(number) for number, label in enumerate(labels)}
    return {label: {"color": colour, "linestyle": dash} for label, (colour, dash) in styles.items()}


def legend_lines(styles: Mapping[str, dict[str, Any]]) -> list[Line2D]:
    """The legend's keys of the arms."""
    return [Line2D([], [], **style) for style in styles.values()]


def rows_and_columns(panels: int) -> tuple[int, int]:
    """How panels of one kind are laid out."""
    columns = panels if panels <= 2 else 2 if panels == 4 else 3
    return -(-panels // columns), columns


def draw_panels(
    figure: SubFigure,
    groups: Mapping[str, Sequence[Curve]],
    styles: Mapping[str, dict[str, Any]],
    metrics: Mapping[str, str],
    x: Axis,
    log_y: bool = False,
) -> None:
    """A panel per metric, as many to a row as are easily read."""
    rows, columns = rows_and_columns(len(metrics))
    grid = figure.add_gridspec(rows, columns)
    shared: Axes | None = None
    panels = []
    for number, metric in enumerate(metrics):
        is_map = metric.startswith(SHARED_LIMITS) and not log_y
        axes = figure.add_subplot(grid[divmod(number, columns)], sharey=shared if is_map else None)
        shared = shared or axes if is_map else shared
        draw_bands(axes, groups, styles, metric, x)
        if log_y:
            axes.set_yscale("log")
        panels.append(axes)
    for axes, name in zip(panels, metrics.values(), strict=True):
        finish(axes, fitting(name, figure.bbox.width / columns - 60), AXIS_NAMES[x])


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
        axes.plot(grid, mean, zorder=3 + 0.1 * depth, **style)
        axes.plot(
            grid[-1:], mean[-1:], marker="o", markersize=5.5, color=style["color"], markeredgecolor="white",
            markeredgewidth=0.9, zorder=5 + 0.1 * depth, clip_on=False,
        )  # fmt: skip
    if not drawn:
        axes.text(0.5, 0.5, "no data", transform=axes.transAxes, ha="center", color=FAINT_TEXT)
    return drawn


def finish(axes: Axes, title: str, x_name: str) -> None:
    """Limits, ticks, title and the name of the horizontal axis."""
    if axes.get_yscale() == "linear":
        lowest = axes.dataLim.ymin
        axes.set_ylim(bottom=min(0.0, lowest) if np.isfinite(lowest) else 0.0)
        axes.yaxis.set_major_locator(MaxNLocator(5))
    else:
        low, high = axes.get_ylim()
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 100 * low else (1,)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_locator(NullLocator())
    axes.set_xlim(left=0)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=x_name == AXIS_NAMES["epoch"]))
    axes.set_title(title)
    axes.set_xlabel(x_name)
