"""Loss histograms of image scores, per scheme and defect: one picture per epoch, one ridge figure per run."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import StepPatch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from sbp.plots.style import (
    GRID,
    WIDTH,
    add_legend,
    fitting,
    framed_figure,
    group_colours,
    group_names,
    new_figure,
    shorten,
    styled,
    swatch,
)

EPOCH_WIDTH, MAX_HEIGHT = 900, 420
MAX_BINS, MAX_NARROW_BINS = 64, 32  # up to two defects have wide panels
MAX_RIDGE_ROWS = 24
SHARE_TICKS = (0.01, 0.1, 0.25, 0.5, 1.0)
RIDGE_OVERLAP = 1.9  # rows that the highest ridge covers


class EpochHistogramPainter:
    """Draws the loss histogram of one epoch after the other on axes that never change.

    edges: (E + 1,) ascending, in nats; defects: D names, the columns; schemes: S names, the rows. Each group
    is divided by its own total, since the many healthy images would hide the rare defects; the height is the
    square root of that share, so that 1 % is still seen beside 100 % without an axis that moves. All that
    stays the same over epochs is drawn once, here. One painter belongs to one thread.
    Raises ValueError if edges do not ascend, or without a defect or a scheme.
    """

    @styled
    def __init__(self, edges: np.ndarray, defects: Sequence[str], schemes: Sequence[str]):
        if not defects or not schemes:
            raise ValueError(f"a histogram needs defects ({list(defects)}) and schemes ({list(schemes)})")
        self.defects, self.schemes = tuple(defects), tuple(schemes)
        self._num_bins, self._max_bins = len(edges) - 1, _max_bins(len(defects))
        self._edges = _merge_edges(_log_edges(edges), self._max_bins)
        self.figure = new_figure(EPOCH_WIDTH, min(MAX_HEIGHT, 110 + 160 * len(schemes)))
        self._canvas = FigureCanvasAgg(self.figure)
        self._title = self.figure.suptitle("Epoch", x=0.012, ha="left", animated=True)
        self._patches: dict[tuple[int, int], list[StepPatch]] = {}
        self._draw_axes()
        colours = group_colours(len(defects))
        # as wide as the numbers of images may become
        widest = [f"{shorten(name, 26)}  n = 000,000 to 000,000" for name in group_names(defects)]
        legend = add_legend(self.figure, [swatch(c) for c in colours], widest, "outside lower center")
        self._texts = legend.get_texts()
        for text in self._texts:
            text.set_visible(False)
        self._canvas.draw()
        for text in self._texts:
            text.set_visible(True)
        self._background = self._canvas.copy_from_bbox(self.figure.bbox)

    @property
    def legend(self) -> list[str]:
        """The legend's texts as last painted: name and number of images of healthy and of each defect."""
        return [text.get_text() for text in self._texts]

    def paint(self, counts: Mapping[str, np.ndarray], epoch: int) -> np.ndarray:
        """The picture of one epoch, (h, w, 3) uint8 RGB, 900 pixels wide.

        counts: by scheme, (D, 1 + D, E) integers: images of each group (healthy, then each defect) whose
        score on that channel falls in each bin. A group without images is not drawn and has n = 0 in the
        legend. Raises ValueError if a scheme is missing or its counts are of another shape.
        """
        num_defects = len(self.defects)
        totals = np.empty((len(self.schemes), num_defects, 1 + num_defects))
        for row, scheme in enumerate(self.schemes):
            merged = self._merged(scheme, counts)
            totals[row] = merged.sum(axis=-1)
            heights = np.sqrt(_shares(merged))
            for column in range(num_defects):
                for group, patch in enumerate(self._patches[row, column]):
                    drawn = bool(totals[row, column, group])
                    patch.set_visible(drawn)
                    if drawn:
                        patch.set_data(*_trimmed(heights[column, group], self._edges))
        self._title.set_text(f"Epoch {epoch}")
        for name, text in zip(_legend_texts(self.defects, totals), self._texts, strict=True):
            text.set_text(name)
        return self._render()

    def _merged(self, scheme: str, counts: Mapping[str, np.ndarray]) -> np.ndarray:
        if scheme not in counts:
            raise ValueError(f"no counts of scheme {scheme!r}, given are {sorted(counts)}")
        values = np.nan_to_num(np.asarray(counts[scheme], dtype=np.float64))
        shape = (len(self.defects), 1 + len(self.defects), self._num_bins)
        if values.shape != shape:
            raise ValueError(f"counts of scheme {scheme!r} have shape {values.shape}, must be {shape}")
        return _merge_counts(values, self._max_bins)

    def _render(self) -> np.ndarray:
        self._canvas.restore_region(self._background)
        renderer = self._canvas.get_renderer()
        for patches in self._patches.values():
            for patch in sorted(patches, key=lambda patch: patch.zorder):
                patch.draw(renderer)
        for text in (self._title, *self._texts):
            text.draw(renderer)
        return np.asarray(self._canvas.buffer_rgba())[..., :3].copy()

    def _draw_axes(self) -> None:
        width = EPOCH_WIDTH / len(self.defects)
        panels = self.figure.subplots(
            len(self.schemes), len(self.defects), sharex=True, sharey=True, squeeze=False
        )
        _score_axis(panels[0, 0], self._edges[0], self._edges[-1])
        panels[0, 0].set_ylim(0, 1.04)
        panels[0, 0].set_yticks(np.sqrt(SHARE_TICKS), [f"{share:.0%}" for share in SHARE_TICKS])
        self.figure.supylabel("share of each group's images\n(square-root scale)", fontsize=8)
        for axes in panels[-1]:
            axes.set_xlabel(_score_name(width))
        for row, scheme in enumerate(self.schemes):
            panels[row, 0].set_ylabel(_wrapped(scheme), fontsize=10, fontweight="bold")
            for column, defect in enumerate(self.defects):
                axes = panels[row, column]
                if row == 0:
                    axes.set_title(_channel(defect, width), loc="center", fontweight="normal")
                styles = [_step_style(c, g, column) for g, c in enumerate(group_colours(len(self.defects)))]
                flat = np.zeros(len(self._edges) - 1)
                patches = [StepPatch(flat, self._edges, animated=True, **style) for style in styles]
                self._patches[row, column] = [axes.add_patch(patch) for patch in patches]


@styled
def ridge_figure(
    epochs: Sequence[int],
    counts: np.ndarray,
    edges: np.ndarray,
    defects: Sequence[str],
    scheme: str,
) -> Figure:
    """Ridge figure of a whole run: one row per scored epoch, the oldest on top, one column per defect.

    epochs: T epochs, ascending; counts: (T, D, 1 + D, E) integers, per epoch as for EpochHistogramPainter;
    edges: (E + 1,) ascending, in nats; scheme: name of the aggregation, for the title. More than 24 epochs
    are thinned out evenly, the first and the last stay. A ridge's height is the square root of the share of
    its group; dots mark the median score of healthy and of the column's own defect. Raises ValueError without
    an epoch or for shapes that do not fit together.
    """
    values = np.nan_to_num(np.asarray(counts, dtype=np.float64))
    num_defects = len(defects)
    shape = (len(epochs), num_defects, 1 + num_defects, len(edges) - 1)
    if values.shape != shape or 0 in shape:
        raise ValueError(f"counts of shape {values.shape}, must be {shape}, at least one epoch and defect")
    rows = np.unique(np.linspace(0, len(epochs) - 1, min(len(epochs), MAX_RIDGE_ROWS)).round().astype(int))
    values = _merge_counts(values[rows], _max_bins(num_defects))
    log_edges = _merge_edges(_log_edges(edges), _max_bins(num_defects))
    heights = np.sqrt(_shares(values))
    heights = heights * (RIDGE_OVERLAP / heights.max() if heights.any() else 0)

    width, colours = WIDTH if num_defects > 1 else 640, group_colours(num_defects)
    pitch = float(np.clip(620 / len(rows), 24, 90))
    space = RIDGE_OVERLAP - 1 + 6 / pitch  # above the highest ridge, in rows
    figure, (body,) = framed_figure(
        width,
        [76 + pitch * (len(rows) + space)],
        f"Image scores under {scheme}, epoch by epoch",
        "height: square root of the share of its group; dots: medians",
        [swatch(colour) for colour in colours],
        _legend_texts(defects, values[-1].sum(axis=-1)),
    )
    panels = body.subplots(1, num_defects, sharex=True, sharey=True, squeeze=False)[0]
    _score_axis(panels[0], *_used_range(values, log_edges))
    bases = range(-1, -1 - len(rows), -1)
    panels[0].set_ylim(-len(rows), space)
    panels[0].set_yticks(bases, [str(epochs[row]) for row in rows])
    panels[0].set_ylabel("epoch")
    for column, (axes, defect) in enumerate(zip(panels, defects, strict=True)):
        axes.set_xlabel(_score_name(width / num_defects))
        axes.tick_params(axis="y", length=0)
        axes.grid(False, axis="y")
        axes.spines["left"].set_visible(False)
        axes.set_title(_channel(defect, width / num_defects), loc="center", fontweight="normal")
        for index, base in enumerate(bases):
            _draw_ridge(axes, log_edges, heights[index, column], values[index, column], base, colours, column)
    return figure


def _draw_ridge(
    axes: Axes,
    log_edges: np.ndarray,
    heights: np.ndarray,
    counts: np.ndarray,
    base: int,
    colours: list[str],
    column: int,
) -> None:
    """One epoch's groups (1 + D, E) on the line y = base; later epochs are drawn over earlier ones."""
    depth = -base * 10.0
    axes.axhline(base, color=GRID, linewidth=0.8, zorder=depth)
    for group, colour in enumerate(colours):
        total = counts[group].sum()
        if not total:
            continue
        style = _step_style(colour, group, column)
        style |= {"zorder": depth + style["zorder"], "linewidth": 0.7 * style["linewidth"]}
        values, edges = _trimmed(heights[group], log_edges)
        axes.add_patch(StepPatch(base + values, edges, baseline=base, **style))
        if group not in (0, column + 1):
            continue
        median = np.interp(total / 2, np.cumsum(np.append(0, counts[group])), log_edges)
        axes.plot(
            [median], [base], marker="o", markersize=4.5, color=colour, markeredgecolor="white",
            markeredgewidth=0.5, zorder=1e4, clip_on=False,
        )  # fmt: skip


def _score_axis(axes: Axes, low: float, high: float) -> None:
    """The axis of log10 of scores, with as many whole decades as have room, in nats."""
    axes.set_xlim(low, high)
    axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{10**value:g}"))


def _channel(defect: str, width: float) -> str:
    """The title of a defect's panel that is `width` pixels wide."""
    return fitting(f"loss of {defect}" if width > 200 else defect, width - 30)


def _score_name(width: float) -> str:
    return "image score (nats)" if width > 160 else "score (nats)"


def _wrapped(scheme: str) -> str:
    """The name of a scheme, on two lines if it is long."""
    return shorten(scheme, 24) if len(scheme) < 16 else shorten(scheme.replace("_", "_\n", 1), 40)


def _trimmed(heights: np.ndarray, edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Heights and edges without the empty bins at either end, whose line would run over the whole row."""
    filled = np.flatnonzero(heights)
    first, last = filled[0], filled[-1] + 1
    return heights[first:last], edges[first : last + 1]


def _legend_texts(defects: Sequence[str], totals: np.ndarray) -> list[str]:
    """Names of the groups and their numbers of images, from totals (..., 1 + D)."""
    columns = totals.reshape(-1, totals.shape[-1]).T
    numbers = [f"{c.min():,.0f} to {c.max():,.0f}" if np.ptp(c) else f"{c[0]:,.0f}" for c in columns]
    return [f"{shorten(n, 26)}  n = {t}" for n, t in zip(group_names(defects), numbers, strict=True)]


def _step_style(colour: str, group: int, column: int) -> dict[str, Any]:
    """Healthy and the column's own defect stand out; the other defects are lines between the two."""
    if group == 0:
        return {"facecolor": to_rgba(colour, 0.45), "edgecolor": colour, "linewidth": 1.3, "zorder": 1}
    if group == column + 1:
        return {"facecolor": to_rgba(colour, 0.4), "edgecolor": colour, "linewidth": 1.6, "zorder": 3}
    faint, line = to_rgba(colour, 0.05), to_rgba(colour, 0.6)
    return {"facecolor": faint, "edgecolor": line, "linewidth": 0.9, "zorder": 2}


def _max_bins(num_defects: int) -> int:
    return MAX_BINS if num_defects <= 2 else MAX_NARROW_BINS


def _merge_edges(edges: np.ndarray, max_bins: int) -> np.ndarray:
    """Edges of at most max_bins bins, neighbours joined; a narrower last bin keeps its own edges."""
    return np.append(edges[:-1][:: -(-(len(edges) - 1) // max_bins)], edges[-1])


def _merge_counts(counts: np.ndarray, max_bins: int) -> np.ndarray:
    """Counts (..., E) in the bins of _merge_edges."""
    return np.add.reduceat(counts, np.arange(0, counts.shape[-1], -(-counts.shape[-1] // max_bins)), axis=-1)


def _used_range(counts: np.ndarray, edges: np.ndarray) -> tuple[float, float]:
    """Lowest and highest edge (log10) of the bins (..., E) that hold an image, two decades apart at least."""
    filled = np.flatnonzero(counts.reshape(-1, counts.shape[-1]).sum(axis=0))
    if not len(filled):
        return float(edges[0]), float(edges[-1])
    low, high = float(edges[filled[0]]), float(edges[filled[-1] + 1])
    missing = max(2 - (high - low), 0) / 2
    return low - missing, high + missing


def _shares(counts: np.ndarray) -> np.ndarray:
    """Counts (..., E) over their sum; 0 for a group without images."""
    totals = counts.sum(axis=-1, keepdims=True)
    return counts / np.maximum(totals, 1)


def _log_edges(edges: np.ndarray) -> np.ndarray:
    """log10 of the edges (E + 1,)."""
    edges = np.asarray(edges, dtype=np.float64)
    if edges.ndim != 1 or len(edges) < 2 or not (np.diff(edges) > 0).all() or edges[0] <= 0:
        raise ValueError("edges must ascend, at least two of them, all above 0")
    return np.log10(edges)
