"""Loss histograms of image scores, per scheme and defect: one picture per epoch, one ridge figure per run."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle, StepPatch
from matplotlib.text import Text

from sbp.plots.style import (
    FAINT_TEXT,
    GRID,
    LABEL_SIZE,
    PANEL_TITLE_SIZE,
    TITLE_SIZE,
    add_axes_px,
    group_colours,
    group_names,
    new_figure,
    shorten,
    style_axes,
    text_px,
)

WIDTH, MAX_HEIGHT = 900, 420
MAX_BINS, MAX_NARROW_BINS = 64, 32  # up to two defects have wide panels
MAX_RIDGE_ROWS = 24
SHARE_TICKS = (0.01, 0.1, 0.25, 0.5, 1.0)
RIDGE_OVERLAP, RIDGE_OVERLAP_LOG = 1.9, 1.1  # rows that the highest ridge covers


def epoch_histogram_image(
    counts: Mapping[str, np.ndarray], edges: np.ndarray, defects: Sequence[str], epoch: int
) -> np.ndarray:
    """The loss histogram of one epoch as a picture, one panel per scheme (row) and defect channel (column).

    counts: by scheme, (D, 1 + D, E) integers: images of each group (healthy, then each defect) whose score
    on that channel falls in each bin. edges: (E + 1,) ascending, in nats. Returns (h, w, 3) uint8 RGB, 900
    pixels wide. To draw many epochs keep an EpochHistogramPainter, which is several times faster per call.
    Raises ValueError for counts or edges of another shape.
    """
    return EpochHistogramPainter(edges, defects, list(counts)).paint(counts, epoch)


class EpochHistogramPainter:
    """Draws the loss histogram of one epoch after the other on axes that never change.

    edges: (E + 1,) ascending, in nats; defects: D names; schemes: S names, the rows. Each group is divided
    by its own total, since the many healthy images would hide the rare defects; the height is the square
    root of that share, so that 1 % is still seen beside 100 % without an axis that moves. All that stays the
    same over epochs is drawn once, here. One painter belongs to one thread.
    Raises ValueError if edges do not ascend, or without a defect or a scheme.
    """

    def __init__(self, edges: np.ndarray, defects: Sequence[str], schemes: Sequence[str]):
        if not defects or not schemes:
            raise ValueError(f"a histogram needs defects ({list(defects)}) and schemes ({list(schemes)})")
        self.defects, self.schemes = tuple(defects), tuple(schemes)
        self._num_bins = len(edges) - 1
        self._max_bins = _max_bins(len(defects))
        self._edges = _merge_edges(_log_edges(edges), self._max_bins)
        groups = group_names(defects)
        self._legend_columns = len(groups) if len(groups) <= 4 else 4
        legend_rows = -(-len(groups) // self._legend_columns)
        height = min(MAX_HEIGHT, 110 + 160 * len(schemes))
        self.figure = new_figure(WIDTH, height)
        self._canvas = FigureCanvasAgg(self.figure)
        self._title = text_px(self.figure, 12, 15, "", fontsize=TITLE_SIZE, fontweight="bold", animated=True)
        self._patches: dict[tuple[int, int], list[StepPatch]] = {}
        self._draw_axes(48, height - 46 - 18 * legend_rows)
        self._legend = self._draw_legend(groups, height - 18 * legend_rows + 7)
        self._canvas.draw()
        self._background = self._canvas.copy_from_bbox(self.figure.bbox)

    @property
    def legend(self) -> list[str]:
        """The legend's texts as last painted: name and number of images of healthy and of each defect."""
        return [text.get_text() for text in self._legend]

    def paint(self, counts: Mapping[str, np.ndarray], epoch: int) -> np.ndarray:
        """The picture of one epoch, (h, w, 3) uint8 RGB; counts as for epoch_histogram_image.

        A group without images is not drawn and has n = 0 in the legend. Raises ValueError if a scheme is
        missing or its counts are not of shape (D, 1 + D, E).
        """
        num_defects = len(self.defects)
        shape = (num_defects, 1 + num_defects, self._num_bins)
        totals = np.empty((len(self.schemes), *shape[:2]))
        for row, scheme in enumerate(self.schemes):
            merged = self._merged(scheme, counts, shape)
            totals[row] = merged.sum(axis=-1)
            heights = np.sqrt(_shares(merged))
            for column in range(num_defects):
                for group, patch in enumerate(self._patches[row, column]):
                    drawn = bool(totals[row, column, group])
                    patch.set_visible(drawn)
                    if drawn:
                        patch.set_data(*_trimmed(heights[column, group], self._edges))
        self._title.set_text(f"Epoch {epoch}")
        for group, (name, text) in enumerate(zip(group_names(self.defects), self._legend, strict=True)):
            fewest, most = totals[..., group].min(), totals[..., group].max()
            number = f"{most:,.0f}" if fewest == most else f"{fewest:,.0f} to {most:,.0f}"
            characters = int((WIDTH - 60) / self._legend_columns / 6.2) - len(number) - 9
            text.set_text(f"{shorten(name, max(characters, 4))}  n = {number}")
        return self._render()

    def _merged(self, scheme: str, counts: Mapping[str, np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
        if scheme not in counts:
            raise ValueError(f"no counts of scheme {scheme!r}, given are {sorted(counts)}")
        values = np.nan_to_num(np.asarray(counts[scheme], dtype=np.float64))
        if values.shape != shape:
            raise ValueError(f"counts of scheme {scheme!r} have shape {values.shape}, must be {shape}")
        return _merge_counts(values, self._max_bins)

    def _render(self) -> np.ndarray:
        self._canvas.restore_region(self._background)
        renderer = self._canvas.get_renderer()
        for patches in self._patches.values():
            for patch in sorted(patches, key=lambda patch: patch.zorder):
                patch.draw(renderer)
        for text in (self._title, *self._legend):
            text.draw(renderer)
        return np.asarray(self._canvas.buffer_rgba())[..., :3].copy()

    def _draw_axes(self, top: int, bottom: int) -> None:
        num_rows, num_columns = len(self.schemes), len(self.defects)
        left, gap_x, gap_y = 68, 16, 14
        width = (WIDTH - left - 12 - gap_x * (num_columns - 1)) / num_columns
        height = (bottom - top - gap_y * (num_rows - 1)) / num_rows
        ticks, labels = _decade_ticks(self._edges[0], self._edges[-1], max_labels=max(int(width / 44), 2))
        colours = group_colours(num_columns)
        text_px(
            self.figure, WIDTH - 12, 15, "height: share of each group's images, square-root scale",
            ha="right", color=FAINT_TEXT,
        )  # fmt: skip
        for row, scheme in enumerate(self.schemes):
            y = top + row * (height + gap_y)
            text_px(
                self.figure, 14, y + height / 2, shorten(scheme, int(height / 6.5)), rotation=90, ha="center",
                fontsize=PANEL_TITLE_SIZE, fontweight="bold",
            )  # fmt: skip
            for column, defect in enumerate(self.defects):
                axes = add_axes_px(self.figure, left + column * (width + gap_x), y, width, height)
                axes.set_xlim(self._edges[0], self._edges[-1])
                axes.set_ylim(0, 1.04)
                last = row == num_rows - 1
                axes.set_xticks(ticks, labels if last else [""] * len(ticks))
                shown = SHARE_TICKS if height > 80 else SHARE_TICKS[1::2] + SHARE_TICKS[-1:]
                shares = [f"{share:.0%}" for share in shown] if column == 0 else [""] * len(shown)
                axes.set_yticks(np.sqrt(shown), shares)
                style_axes(axes)
                _align_outer_labels(axes)
                if row == 0:
                    title = f"loss of {defect}" if width > 180 else defect
                    axes.set_title(
                        shorten(title, int(width / 7)), fontsize=PANEL_TITLE_SIZE, pad=5, parse_math=False
                    )
                if last:
                    label = "image score (nats)" if width > 120 else "score (nats)"
                    axes.set_xlabel(label, fontsize=LABEL_SIZE, labelpad=2)
                self._patches[row, column] = [
                    self._step_patch(axes, colour, group, column) for group, colour in enumerate(colours)
                ]

    def _step_patch(self, axes: Axes, colour: str, group: int, column: int) -> StepPatch:
        patch = StepPatch(
            np.zeros(len(self._edges) - 1), self._edges, animated=True, **_step_style(colour, group, column)
        )
        axes.add_patch(patch)
        return patch

    def _draw_legend(self, groups: list[str], top: float) -> list[Text]:
        texts = []
        step = (WIDTH - 60) / self._legend_columns
        for index, colour in enumerate(group_colours(len(groups) - 1)):
            row, column = divmod(index, self._legend_columns)
            x, y = 60 + column * step, top + 18 * row
            axes = add_axes_px(self.figure, x, y - 5, 16, 10)
            axes.set_axis_off()
            axes.add_patch(
                Rectangle((0, 0), 1, 1, facecolor=to_rgba(colour, 0.45), edgecolor=colour, linewidth=1.5)
            )
            texts.append(text_px(self.figure, x + 22, y, "", animated=True))
        return texts


def ridge_figure(
    epochs: Sequence[int],
    counts: np.ndarray,
    edges: np.ndarray,
    defects: Sequence[str],
    scheme: str,
    log_count: bool = False,
) -> Figure:
    """Ridge figure of a whole run: one row per scored epoch, the oldest on top, one column per defect.

    epochs: T epochs, ascending; counts: (T, D, 1 + D, E) integers as for epoch_histogram_image; edges:
    (E + 1,) ascending, in nats; scheme: name of the aggregation, for the title. More than 24 epochs are
    thinned out evenly, the first and the last stay. A ridge's height is the square root of the share of its
    group, or with log_count the logarithm of 1 + images; dots mark the median score of healthy and of
    the column's own defect. Raises ValueError without an epoch or for shapes that do not fit together.
    """
    values = np.nan_to_num(np.asarray(counts, dtype=np.float64))
    num_defects = len(defects)
    shape = (len(epochs), num_defects, 1 + num_defects, len(edges) - 1)
    if values.shape != shape or 0 in shape:
        raise ValueError(f"counts of shape {values.shape}, must be {shape}, at least one epoch and defect")
    rows = np.unique(np.linspace(0, len(epochs) - 1, min(len(epochs), MAX_RIDGE_ROWS)).round().astype(int))
    values = _merge_counts(values[rows], _max_bins(num_defects))
    log_edges = _merge_edges(_log_edges(edges), _max_bins(num_defects))
    heights = np.log10(1 + values) if log_count else np.sqrt(_shares(values))
    peak = heights.max()
    overlap = RIDGE_OVERLAP_LOG if log_count else RIDGE_OVERLAP
    heights = heights * (overlap / peak if peak else 0)

    left, gap, width = 58, 16, 1000 if num_defects > 1 else 640
    pitch = float(np.clip(620 / len(rows), 24, 90))
    top = 90 + pitch * (overlap - 1)
    body = pitch * len(rows)
    columns = min(1 + num_defects, 4 if width > 700 else 2)
    figure = new_figure(width, round(top + body + 54 + 20 * -(-(1 + num_defects) // columns)))
    text_px(
        figure, 14, 18, shorten(f"Image scores under {scheme}, epoch by epoch", width // 9),
        fontsize=TITLE_SIZE, fontweight="bold",
    )  # fmt: skip
    how = "log of 1 + images" if log_count else "square root of the share of its group"
    text_px(figure, 14, 38, f"height: {how}; dots: medians", color=FAINT_TEXT)
    panel = (width - left - 14 - gap * (num_defects - 1)) / num_defects
    low, high = _used_range(values, log_edges)
    ticks, labels = _decade_ticks(low, high, max_labels=max(int(panel / 46), 2))
    colours = group_colours(num_defects)
    space = pitch * (overlap - 1) + 6
    for column, defect in enumerate(defects):
        axes = add_axes_px(figure, left + column * (panel + gap), top - space, panel, body + space)
        axes.set_xlim(low, high)
        axes.set_ylim(-len(rows), space / pitch)
        axes.set_xticks(ticks, labels)
        bases = [-1 - index for index in range(len(rows))]
        names = [str(epochs[row]) for row in rows]
        axes.set_yticks(bases, names if column == 0 else [""] * len(rows))
        style_axes(axes, grid="x")
        _align_outer_labels(axes)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        title = f"loss of {defect}" if panel > 180 else defect
        axes.set_title(shorten(title, int(panel / 7.5)), fontsize=PANEL_TITLE_SIZE, pad=6, parse_math=False)
        axes.set_xlabel(
            "image score (nats)" if panel > 120 else "score (nats)", fontsize=LABEL_SIZE, labelpad=3
        )
        if column == 0:
            axes.set_ylabel("epoch", fontsize=LABEL_SIZE)
        for index, base in enumerate(bases):
            _draw_ridge(axes, log_edges, heights[index, column], values[index, column], base, colours, column)
    handles = [Patch(facecolor=to_rgba(colour, 0.45), edgecolor=colour, linewidth=1.5) for colour in colours]
    last = values[-1].sum(axis=-1).max(axis=0)
    names = [
        f"{shorten(name, 26)}  n = {total:,.0f}"
        for name, total in zip(group_names(defects), last, strict=True)
    ]
    legend = figure.legend(
        handles, names, loc="lower center", ncols=columns, frameon=False,
        fontsize=LABEL_SIZE, handlelength=1.4, columnspacing=2.0, borderaxespad=0.2,
    )  # fmt: skip
    for text in legend.get_texts():
        text.set_parse_math(False)
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


def _trimmed(heights: np.ndarray, edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Heights and edges without the empty bins at either end, whose line would run over the whole row."""
    filled = np.flatnonzero(heights)
    first, last = filled[0], filled[-1] + 1
    return heights[first:last], edges[first : last + 1]


def _step_style(colour: str, group: int, column: int) -> dict[str, Any]:
    """Healthy and the column's own defect stand out; the other defects are lines between the two."""
    if group == 0:
        return {"facecolor": to_rgba(colour, 0.45), "edgecolor": colour, "linewidth": 1.3, "zorder": 1}
    if group == column + 1:
        return {"facecolor": to_rgba(colour, 0.4), "edgecolor": colour, "linewidth": 1.6, "zorder": 3}
    return {
        "facecolor": to_rgba(colour, 0.05),
        "edgecolor": to_rgba(colour, 0.6),
        "linewidth": 0.9,
        "zorder": 2,
    }


def _max_bins(num_defects: int) -> int:
    return MAX_BINS if num_defects <= 2 else MAX_NARROW_BINS


def _merge_edges(edges: np.ndarray, max_bins: int) -> np.ndarray:
    """Edges of at most max_bins bins, neighbours joined; a narrower last bin keeps its own edges."""
    return np.append(edges[:-1][:: -(-(len(edges) - 1) // max_bins)], edges[-1])


def _merge_counts(counts: np.ndarray, max_bins: int) -> np.ndarray:
    """Counts (..., E) in the bins of _merge_edges."""
    return np.add.reduceat(counts, np.arange(0, counts.shape[-1], -(-counts.shape[-1] // max_bins)), axis=-1)


def _used_range(counts: np.ndarray, edges: np.ndarray) -> tuple[float, float]:
    """Lowest and highest edge (log10) of the bins (..., E) that hold an image, at least a decade apart."""
    filled = np.flatnonzero(counts.reshape(-1, counts.shape[-1]).sum(axis=0))
    if not len(filled):
        return float(edges[0]), float(edges[-1])
    low, high = float(edges[filled[0]]), float(edges[filled[-1] + 1])
    missing = max(1 - (high - low), 0) / 2
    return low - missing, high + missing


def _align_outer_labels(axes: Axes) -> None:
    """Labels at either end of the x axis stay inside it, clear of the neighbouring panel's."""
    low, high = axes.get_xlim()
    for tick, label in zip(axes.get_xticks(), axes.get_xticklabels(), strict=True):
        if tick - low < 0.02 * (high - low):
            label.set_horizontalalignment("left")
        elif high - tick < 0.02 * (high - low):
            label.set_horizontalalignment("right")


def _shares(counts: np.ndarray) -> np.ndarray:
    """Counts (..., E) over their sum; 0 for a group without images."""
    totals = counts.sum(axis=-1, keepdims=True)
    return counts / np.maximum(totals, 1)


def _log_edges(edges: np.ndarray) -> np.ndarray:
    """log10 of the edges (E + 1,); an open end (0 or infinity) becomes as wide as its neighbour."""
    edges = np.asarray(edges, dtype=np.float64)
    if edges.ndim != 1 or len(edges) < 2 or not (np.diff(edges) > 0).all() or edges[0] < 0:
        raise ValueError("edges must ascend, at least two of them, none negative")
    with np.errstate(divide="ignore"):
        logs = np.log10(edges)
    if not np.isfinite(logs[1:-1]).all() or ((~np.isfinite(logs)).any() and len(logs) < 4):
        raise ValueError("edges with an open end need two finite bins at least")
    if not np.isfinite(logs[0]):
        logs[0] = 2 * logs[1] - logs[2]
    if not np.isfinite(logs[-1]):
        logs[-1] = 2 * logs[-2] - logs[-3]
    return logs


def _decade_ticks(low: float, high: float, max_labels: int) -> tuple[list[float], list[str]]:
    """Whole decades between low and high (log10), and labels on as many of them as have room."""
    decades = np.arange(np.ceil(low - 1e-9), np.floor(high + 1e-9) + 1)
    if len(decades) < 2:
        ends = [low, high]
        return ends, [f"{10**end:.2g}" for end in ends]
    step = -(-len(decades) // max(max_labels, 1))
    labels = [_decade_label(int(decade)) if int(decade) % step == 0 else "" for decade in decades]
    return [float(decade) for decade in decades], labels


def _decade_label(exponent: int) -> str:
    return f"{10.0**exponent:g}" if -3 <= exponent <= 3 else f"1e{exponent}"
