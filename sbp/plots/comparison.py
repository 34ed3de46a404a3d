"""The comparison of runs: mean average precision over compute, time per epoch, predictions side by side."""

import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from sbp.plots.gallery import (
    annotation_picture,
    cell_size,
    draw_mask_legend,
    fit_image,
    prediction_picture,
)
from sbp.plots.style import (
    FAINT_TEXT,
    FRAME,
    LABEL_SIZE,
    PANEL_TITLE_SIZE,
    TEXT,
    TICK_SIZE,
    TITLE_SIZE,
    LineStyle,
    add_axes_px,
    frame_picture,
    new_figure,
    run_style,
    shorten,
    style_axes,
    text_px,
)

WIDTH = 1000
LEFT, RIGHT, GAP_X = 44, 18, 44
PANEL_HEIGHT, PANEL_GAP = 196, 66
BAR_PITCH = 30


@dataclass(frozen=True)
class RunCurve:
    """One run as the comparison shows it; T is its number of epochs.

    label: what the run is called; runs that differ in their seed alone share it. cost: (T,) compute spent
    up to the end of each epoch, in baseline epochs, ascending. seconds: (T,) wall time of each epoch, NaN
    where unknown. map_per_defect: by defect, (T,) mean average precision in 0..1, NaN in epochs without
    validation. loss_per_defect: by defect, (T,) validation loss in nats, may be empty. kept: (T,) share of
    the images trained on, in 0..1, or None. colour: #rrggbb, or None for the palette's next.
    Raises ValueError if the lengths differ.
    """

    label: str
    cost: np.ndarray
    seconds: np.ndarray
    map_per_defect: Mapping[str, np.ndarray]
    loss_per_defect: Mapping[str, np.ndarray] = field(default_factory=dict)
    kept: np.ndarray | None = None
    colour: str | None = None

    def __post_init__(self) -> None:
        series = {"seconds": self.seconds}
        series |= {f"map of {defect}": values for defect, values in self.map_per_defect.items()}
        series |= {f"loss of {defect}": values for defect, values in self.loss_per_defect.items()}
        if self.kept is not None:
            series["kept"] = self.kept
        for name, values in series.items():
            if np.shape(values) != np.shape(self.cost):
                raise ValueError(
                    f"{self.label}: {name} has shape {np.shape(values)}, cost {np.shape(self.cost)}"
                )


@dataclass(frozen=True)
class Example:
    """One image with what each run makes of it.

    image: (H, W, C) uint8; annotation: (H, W, D), 0 or 1; predictions: by label, (H, W, D) probabilities.
    """

    image: np.ndarray
    annotation: np.ndarray
    predictions: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class _Group:
    """The runs of one label, and how they are drawn."""

    label: str
    runs: list[RunCurve]
    colour: str
    line: LineStyle


Series = Callable[[RunCurve], np.ndarray | None]


def comparison_figure(
    curves: Sequence[RunCurve],
    defects: Sequence[str],
    examples: Sequence[Example] | None = None,
    *,
    title: str | None = None,
    losses: bool = False,
) -> Figure:
    """Runs compared over the compute they spent, 1000 pixels wide.

    Panels: mean average precision per defect and their mean, with losses=True the validation loss per
    defect, the kept share if a run has one, and seconds per epoch (mean_epoch_s; its ratio to the
    first label's). Runs of one label are drawn as their mean with a band from the lowest to the highest
    seed, over the costs that all of them reached. examples adds a strip of images, annotations and
    predictions. title: null states what is compared. Raises ValueError without curves or defects.
    """
    if not curves or not defects:
        raise ValueError(f"a comparison needs curves ({len(curves)} given) and defects ({list(defects)})")
    groups = _grouped(curves)
    panels = _line_panels(groups, defects, losses)
    columns = 2 if len(panels) + 1 <= 2 or len(panels) + 1 == 4 else 3
    bar_row = len(panels) // columns
    rows = bar_row + 1
    heights = [PANEL_HEIGHT] * rows
    heights[bar_row] = max(PANEL_HEIGHT, BAR_PITCH * len(groups))
    legend_columns = _legend_columns(groups)
    legend_rows = -(-len(groups) // legend_columns)
    top = 70 + 20 * legend_rows + 22
    body = sum(heights) + PANEL_GAP * (rows - 1)
    strip = _Strip(examples or [], [group.label for group in groups])
    figure = new_figure(WIDTH, round(top + body + 48 + strip.height))

    seeds = max(len(group.runs) for group in groups)
    text_px(figure, 14, 20, shorten(title or _title(groups), 92), fontsize=TITLE_SIZE + 2, fontweight="bold")
    about = "mAP: region-level mean average precision on validation images; 1 baseline epoch: one full pass"
    if seeds > 1:
        about += f"; line: mean of up to {seeds} seeds, band: their range"
    text_px(figure, 14, 44, shorten(about, 170), color=FAINT_TEXT, fontsize=LABEL_SIZE - 0.5)
    _draw_run_legend(figure, groups, 58 + 10 * legend_rows, legend_columns)

    width = (WIDTH - LEFT - RIGHT - GAP_X * (columns - 1)) / columns
    for index, panel in enumerate(panels):
        row, column = divmod(index, columns)
        axes = add_axes_px(
            figure,
            LEFT + column * (width + GAP_X),
            top + sum(heights[:row]) + row * PANEL_GAP,
            width,
            heights[row],
        )
        panel.draw(axes, groups)
    column = len(panels) % columns
    left = LEFT + column * (width + GAP_X)
    bar_top = top + sum(heights[:bar_row]) + bar_row * PANEL_GAP
    _draw_seconds(add_axes_px(figure, left, bar_top, WIDTH - RIGHT - left, heights[bar_row]), groups)
    strip.draw(figure, top + body + 48, defects)
    return figure


@dataclass(frozen=True)
class _LinePanel:
    title: str
    series: Series
    limits: tuple[float, float]
    x_limits: tuple[float, float]

    def draw(self, axes: Axes, groups: list[_Group]) -> None:
        drawn = False
        for depth, group in enumerate(groups):
            curve = mean_curve(group.runs, self.series)
            if curve is None:
                continue
            drawn = True
            cost, mean, low, high = curve
            zorder = 2 + 0.1 * depth
            if len(group.runs) > 1:
                axes.fill_between(cost, low, high, color=group.colour, alpha=0.16, linewidth=0, zorder=zorder)
            axes.plot(
                cost, mean, color=group.colour, linestyle=group.line, linewidth=2.0, zorder=zorder + 1,
                solid_capstyle="round",
            )  # fmt: skip
            axes.plot(
                cost[-1:], mean[-1:], marker="o", markersize=6, color=group.colour, markeredgecolor="white",
                markeredgewidth=1, zorder=zorder + 2, clip_on=False,
            )  # fmt: skip
        axes.set_xlim(*self.x_limits)
        axes.set_ylim(*self.limits)
        # the title above the axes names the quantity and its unit: a label at the side would take room
        axes.xaxis.set_major_locator(MaxNLocator(6))
        axes.yaxis.set_major_locator(MaxNLocator(5))
        style_axes(axes)
        _panel_title(axes, self.title)
        axes.set_xlabel("compute (baseline epochs)", fontsize=LABEL_SIZE, labelpad=3)
        if not drawn:
            axes.text(0.5, 0.5, "no data", transform=axes.transAxes, ha="center", color=FAINT_TEXT)


class _Strip:
    """The examples below the panels: image, annotation, then the prediction of each run."""

    GAP, HEAD = 6, 62

    def __init__(self, examples: Sequence[Example], labels: list[str]):
        self.examples, self.labels = examples, labels
        self.columns = 2 + len(labels)
        self.cell = (WIDTH - 14 - RIGHT - self.GAP * (self.columns - 1)) // self.columns
        self.sizes = [cell_size(example.image, self.cell**2, self.cell) for example in examples]
        self.height = 0
        if examples:
            self.height = self.HEAD + sum(size[1] + self.GAP for size in self.sizes) + 8

    def draw(self, figure: Figure, top: float, defects: Sequence[str]) -> None:
        if not self.examples:
            return
        text_px(figure, 14, top + 14, "Examples", fontsize=PANEL_TITLE_SIZE, fontweight="bold")
        draw_mask_legend(figure, defects, top + 14, has_clean=False, left=100)
        for column, name in enumerate(["image", "annotation", *self.labels]):
            x = 14 + column * (self.cell + self.GAP) + self.cell / 2
            lines = textwrap.wrap(name, max(int(self.cell / 7), 6), max_lines=2, placeholder="…")
            text_px(
                figure, x, top + self.HEAD - 5, "\n".join(lines), ha="center", va="bottom",
                fontsize=TICK_SIZE, linespacing=1.1,
            )  # fmt: skip
        y = top + self.HEAD
        for example, size in zip(self.examples, self.sizes, strict=True):
            for column in range(self.columns):
                left = 14 + column * (self.cell + self.GAP) + (self.cell - size[0]) / 2
                axes = add_axes_px(figure, left, y, *size)
                frame_picture(axes)
                picture = self._picture(example, column, size)
                if picture is None:
                    axes.text(0.5, 0.5, "no prediction", transform=axes.transAxes, ha="center",
                              va="center", color=FAINT_TEXT, fontsize=TICK_SIZE)  # fmt: skip
                else:
                    axes.imshow(picture, aspect="auto", interpolation="antialiased")
            y += size[1] + self.GAP

    def _picture(self, example: Example, column: int, size: tuple[int, int]) -> np.ndarray | None:
        dense = (2 * size[0], 2 * size[1])  # crisp when the file is written at scale 2
        if column == 0:
            return fit_image(example.image, dense)
        if column == 1:
            return annotation_picture(example.image, example.annotation, dense)
        prediction = example.predictions.get(self.labels[column - 2])
        return None if prediction is None else prediction_picture(example.image, prediction, dense)


def mean_curve(
    runs: Sequence[RunCurve], series: Series
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray] | None:
    """Cost, mean, lowest and highest value over runs whose costs differ: four arrays of one length.

    Each run is interpolated linearly between its own points, over the range of costs that all runs share;
    NaN points and runs without any point are left out. None if nothing is left.
    """
    points = []
    for run in runs:
        values = series(run)
        if values is None:
            continue
        cost, values = np.asarray(run.cost, dtype=float), np.asarray(values, dtype=float)
        known = np.isfinite(cost) & np.isfinite(values)
        if known.any():
            points.append((cost[known], values[known]))
    if not points:
        return None
    low, high = max(cost[0] for cost, _ in points), min(cost[-1] for cost, _ in points)
    grid = np.unique(np.concatenate([cost for cost, _ in points]))
    grid = grid[(grid >= low) & (grid <= high)]
    if not len(grid):  # runs that do not overlap at all: the longest alone can be drawn
        points = [max(points, key=lambda point: len(point[0]))]
        grid = points[0][0]
    table = np.stack([np.interp(grid, cost, values) for cost, values in points])
    return grid, table.mean(axis=0), table.min(axis=0), table.max(axis=0)


def mean_epoch_s(run: RunCurve) -> float:
    """Mean seconds per epoch, NaN if none is known.

    A mean, not a median: a stale schedule pays for its scoring pass in a few long epochs. The first epoch,
    which warms up and usually trains on every image, is left out if any other is known.
    """
    seconds = np.asarray(run.seconds, dtype=float)
    for part in (seconds[1:], seconds):
        known = part[np.isfinite(part)]
        if len(known):
            return float(known.mean())
    return float("nan")


def _grouped(curves: Sequence[RunCurve]) -> list[_Group]:
    runs: dict[str, list[RunCurve]] = {}
    for curve in curves:
        runs.setdefault(curve.label, []).append(curve)
    groups = []
    for index, (label, members) in enumerate(runs.items()):
        colour, line = run_style(index)
        given = [member.colour for member in members if member.colour]
        groups.append(_Group(label, members, given[0] if given else colour, line))
    return groups


def _line_panels(groups: list[_Group], defects: Sequence[str], losses: bool) -> list[_LinePanel]:
    x_limits = (0.0, 1.02 * _highest(groups, lambda run: run.cost) or 1.0)
    map_series = [_map_of(defect) for defect in defects]
    highest = max(_highest(groups, series) for series in map_series)
    limits = (0.0, min(1.08 * highest, 1.02) if highest > 0 else 1.0)
    panels = [
        _LinePanel(f"mAP of {defect}", series, limits, x_limits)
        for defect, series in zip(defects, map_series, strict=True)
    ]
    if len(defects) > 1:
        panels.append(_LinePanel("mAP, mean over defects", _mean_map(defects), limits, x_limits))
    if losses:
        for defect in defects:
            series = _loss_of(defect)
            top = 1.08 * _highest(groups, series) or 1.0
            panels.append(_LinePanel(f"validation loss of {defect} (nats)", series, (0.0, top), x_limits))
    if any(run.kept is not None for group in groups for run in group.runs):
        panels.append(_LinePanel("share of images trained on", lambda run: run.kept, (0.0, 1.04), x_limits))
    return panels


def _map_of(defect: str) -> Series:
    return lambda run: run.map_per_defect.get(defect)


def _loss_of(defect: str) -> Series:
    return lambda run: run.loss_per_defect.get(defect)


def _mean_map(defects: Sequence[str]) -> Series:
    def series(run: RunCurve) -> np.ndarray | None:
        if any(defect not in run.map_per_defect for defect in defects):
            return None
        return np.mean([np.asarray(run.map_per_defect[defect], dtype=float) for defect in defects], axis=0)

    return series


def _highest(groups: list[_Group], series: Series) -> float:
    values = [series(run) for group in groups for run in group.runs]
    finite = [np.asarray(v, dtype=float)[np.isfinite(v)] for v in values if v is not None]
    return max((float(v.max()) for v in finite if v.size), default=0.0)


def _draw_seconds(axes: Axes, groups: list[_Group]) -> None:
    measured = [
        np.array([epoch_s for run in group.runs if np.isfinite(epoch_s := mean_epoch_s(run))])
        for group in groups
    ]
    means = np.array([values.mean() if len(values) else np.nan for values in measured])
    longest = max((float(values.max()) for values in measured if len(values)), default=1.0) or 1.0
    width = axes.bbox.width
    positions = np.arange(len(groups))[::-1].astype(float)
    for position, group, values, mean in zip(positions, groups, measured, means, strict=True):
        axes.text(
            0, position + 0.24, shorten(group.label, 44), fontsize=TICK_SIZE + 0.5, color=TEXT, va="center",
            parse_math=False,
        )  # fmt: skip
        if np.isnan(mean):
            text = "not measured"
        else:
            axes.barh(position - 0.17, mean, height=0.36, color=group.colour, alpha=0.9, zorder=2)
            if len(values) > 1:
                axes.plot(
                    values, np.full(len(values), position - 0.17), linestyle="none", marker="o", markersize=4,
                    color="white", markeredgecolor=TEXT, markeredgewidth=0.8, zorder=3,
                )  # fmt: skip
            text = f"{mean:.3g} s"
            if group is not groups[0] and np.isfinite(means[0]) and mean > 0:
                text += f"  ({means[0] / mean:.1f}x)"
        end = 0 if np.isnan(mean) else max(mean, values.max())
        axes.text(end + 8 * longest / width, position - 0.17, text, fontsize=TICK_SIZE + 0.5, va="center")
    axes.set_xlim(0, longest * width / (width - 110))  # room for the longest text
    axes.set_ylim(-0.55, len(groups) - 0.5)
    axes.set_yticks([])
    axes.xaxis.set_major_locator(MaxNLocator(6))
    style_axes(axes, grid="x")
    axes.spines["left"].set_color(FRAME)
    several = any(len(values) > 1 for values in measured)
    _panel_title(axes, "time per epoch" + (" (dots: seeds)" if several else ""))
    first = shorten(groups[0].label, 24)
    label = f"seconds, mean after the first epoch; in brackets: speed-up over {first}"
    if len(label) > width / 6.4:
        label = f"seconds (speed-up over {shorten(first, int(width / 6.4) - 24)})"
    axes.set_xlabel(label, fontsize=LABEL_SIZE, labelpad=3, parse_math=False)


def _panel_title(axes: Axes, title: str) -> None:
    axes.set_title(
        shorten(title, int(axes.bbox.width / 7.3)),
        fontsize=PANEL_TITLE_SIZE,
        fontweight="bold",
        loc="left",
        pad=6,
        parse_math=False,
    )


def _draw_run_legend(figure: Figure, groups: list[_Group], middle: float, columns: int) -> None:
    handles = [
        Line2D([], [], color=group.colour, linestyle=group.line, linewidth=2.4, marker="o", markersize=6,
               markeredgecolor="white")
        for group in groups
    ]  # fmt: skip
    height = figure.get_size_inches()[1] * figure.dpi
    legend = figure.legend(
        handles, [shorten(group.label, 60) for group in groups], loc="center left", ncols=columns,
        bbox_to_anchor=(14 / WIDTH, 1 - middle / height), frameon=False, fontsize=PANEL_TITLE_SIZE,
        handlelength=1.8, columnspacing=1.8, borderaxespad=0, borderpad=0,
    )  # fmt: skip
    for text in legend.get_texts():
        text.set_parse_math(False)


def _legend_columns(groups: list[_Group]) -> int:
    """As many columns as fit in the figure's width; the legend fills one column after the other."""
    lengths = [len(shorten(group.label, 60)) for group in groups]
    for columns in range(len(groups), 1, -1):
        longest = [max(part) for part in np.array_split(lengths, columns)]
        if sum(7.8 * length + 58 for length in longest) <= WIDTH - 28:
            return columns
    return 1


def _title(groups: list[_Group]) -> str:
    labels = [group.label for group in groups]
    versus = " against ".join(labels)
    if len(versus) > 52:
        versus = f"{labels[0]} against {len(labels) - 1} others"
    return f"Defects learnt per unit of compute: {versus}"
