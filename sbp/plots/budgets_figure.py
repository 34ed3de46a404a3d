"""The comparison at several budgets: a row of panels per metric, a column per budget, a band over seeds."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sbp.plots.curve import Axis, Curve, by_label
from sbp.plots.curves_figure import (
    AXIS_NAMES,
    PANEL_HEIGHT,
    draw_bands,
    finish,
    legend_lines,
    line_styles,
    seeds_text,
)
from sbp.plots.style import WIDTH, fitting, framed_figure, styled


@styled
def budgets_figure(
    curves: Mapping[str, Sequence[Curve]], metrics: Mapping[str, str], x: Axis, *, title: str
) -> Figure:
    """A figure 1000 pixels wide. curves: by budget; metrics: key to panel title.

    Panels of a row share their vertical axis. Lines are means over seeds, bands go from the lowest to the
    highest seed. Raises ValueError without curves or metrics.
    """
    every = [curve for members in curves.values() for curve in members]
    if not every or not metrics:
        raise ValueError(f"budgets_figure needs curves ({len(every)} given) and metrics ({list(metrics)})")
    styles = line_styles(by_label(every))
    head = (title, _seeds_text(curves), legend_lines(styles), list(styles))
    figure, (body,) = framed_figure(WIDTH, [PANEL_HEIGHT * len(metrics)], *head)
    grid = body.add_gridspec(len(metrics), len(curves))
    for row, (metric, name) in enumerate(metrics.items()):
        panels: list[Axes] = []
        for column, members in enumerate(curves.values()):
            axes = body.add_subplot(grid[row, column], sharey=panels[0] if panels else None)
            draw_bands(axes, by_label(members), styles, metric, x)
            panels.append(axes)
        for axes, budget in zip(panels, curves, strict=True):
            width = body.bbox.width / len(curves) - 60
            finish(axes, fitting(f"{name}, {budget} budget", width), AXIS_NAMES[x])
    return figure


def _seeds_text(curves: Mapping[str, Sequence[Curve]]) -> str:
    """What lines and bands are, of the budget with the most seeds."""
    groups = [by_label(members) for members in curves.values() if members]
    return max((seeds_text(group) for group in groups), key=len)
