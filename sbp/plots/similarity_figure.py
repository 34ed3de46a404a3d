"""Similarity of subsamples' gradients to the whole batch's, over epochs (Jiang et al. 2019)."""

from collections.abc import Sequence
from dataclasses import replace

from matplotlib.figure import Figure

from sbp.plots.curve import Curve
from sbp.plots.curves_figure import draw_bands, finish, legend_lines
from sbp.plots.style import RUN_COLOURS, WIDTH, framed_figure, styled

MEASURES = {"cosine": "cosine", "sign": "equal signs"}
GROUPS = ("whole", "encoder", "decoder", "head")
SUBSAMPLES = {
    "high": {"color": "#D55E00", "linestyle": "-"},
    "random": {"color": RUN_COLOURS[0], "linestyle": "--"},
    "low": {"color": "#56B4E9", "linestyle": "-"},
}


@styled
def similarity_figure(curves: Sequence[Curve], *, title: str) -> Figure:
    """Rows: cosine and share of equal signs; columns: the whole model and its layer groups; lines:
    high-loss, random and low-loss subsamples, with a band over seeds.

    Needs gradients/<cosine|sign>/<high|random|low>/<group>. Raises ValueError without curves.
    """
    if not curves:
        raise ValueError("similarity_figure needs curves")
    known = {key for curve in curves for key in curve.values}
    groups = [g for g in GROUPS if any(key.endswith(f"/{g}") for key in known)] or ["whole"]
    labels = [f"{name} loss" if name != "random" else name for name in SUBSAMPLES]
    heights = [230 * len(MEASURES)]
    figure, (body,) = framed_figure(WIDTH, heights, title, "", legend_lines(SUBSAMPLES), labels)
    grid = body.add_gridspec(len(MEASURES), len(groups))
    for row, (measure, words) in enumerate(MEASURES.items()):
        for column, group in enumerate(groups):
            axes = body.add_subplot(grid[row, column])
            for name, style in SUBSAMPLES.items():
                key = f"gradients/{measure}/{name}/{group}"
                members = [replace(curve, label=name) for curve in curves if key in curve.values]
                if members:
                    draw_bands(axes, {name: members}, {name: style}, key, "epoch")
            finish(axes, f"{words}, {group}", "epoch")
    return figure
