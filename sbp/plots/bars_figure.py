"""Seconds per epoch as bars, with the speed-up beside what the cost model allows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from sbp.plots.panels import Panels
from sbp.plots.style import LABEL_SIZE, TEXT, TICK_SIZE, shorten, style_axes

PITCH, LABEL_WIDTH = 34, 240
PART_COLOURS = ("#0072B2", "#999999", "#E69F00", "#CC79A7")


@dataclass(frozen=True)
class Bar:
    """One arm. parts: by name, one number per seed, which are stacked; ideal: speed-up over the first bar
    that the cost model allows, or None."""

    label: str
    parts: Mapping[str, Sequence[float]]
    ideal: float | None = None

    def totals(self) -> np.ndarray:
        """The sum of the parts, one per seed; empty if not measured."""
        columns = [np.asarray(values, dtype=float) for values in self.parts.values()]
        total = np.sum(columns, axis=0) if columns else np.empty(0)
        return total[np.isfinite(total)]


def bar_text(bar: Bar, first: Bar, unit: str) -> str:
    """What stands at a bar's end: "0.52 s  (3.9x, ideal 4.1x)"; the first bar has no speed-up."""
    totals, reference = bar.totals(), first.totals()
    if not len(totals):
        return "not measured"
    text = f"{totals.mean():.3g} {unit}"
    if bar is first or not len(reference) or totals.mean() <= 0:
        return text
    ideal = f", ideal {bar.ideal:.1f}x" if bar.ideal is not None and np.isfinite(bar.ideal) else ""
    return f"{text}  ({reference.mean() / totals.mean():.1f}x{ideal})"


def bars_figure(bars: Sequence[Bar], *, title: str, unit: str, about: str = "") -> Figure:
    """Horizontal stacked bars of the means over seeds, dots for the seeds' totals. Raises ValueError
    without bars."""
    if not bars:
        raise ValueError("bars_figure needs bars")
    names = list(dict.fromkeys(name for bar in bars for name in bar.parts))
    styles = [
        {"color": PART_COLOURS[i % len(PART_COLOURS)], "linewidth": 8, "solid_capstyle": "butt"}
        for i in range(len(names))
    ]
    about = about or "In brackets: speed-up over the first bar, and what the cost model allows. Dots: seeds."
    panels = Panels(1, title, about, names, styles, height=PITCH * len(bars) + 8)
    axes = panels.axes(0)
    longest = max((float(t.max()) for bar in bars if len(t := bar.totals())), default=1.0) or 1.0
    width = axes.bbox.width
    for row, bar in enumerate(reversed(bars)):
        left, totals = 0.0, bar.totals()
        for name, style in zip(names, styles, strict=True):
            values = np.asarray(bar.parts.get(name, ()), dtype=float)
            if len(values) and np.isfinite(values).all():
                axes.barh(row, values.mean(), left=left, height=0.5, color=style["color"], zorder=2)
                left += float(values.mean())
        if len(totals) > 1:
            axes.plot(
                totals, np.full(len(totals), row), linestyle="none", marker="o", markersize=4, color="white",
                markeredgecolor=TEXT, markeredgewidth=0.8, zorder=3,
            )  # fmt: skip
        end = max(left, float(totals.max()) if len(totals) else 0.0) + 16 * longest / width
        axes.text(end, row, bar_text(bar, bars[0], unit), fontsize=TICK_SIZE + 1, va="center")
    axes.set_yticks(
        range(len(bars)), [shorten(bar.label, 36) for bar in reversed(bars)], fontsize=TICK_SIZE + 1
    )
    for tick in axes.get_yticklabels():
        tick.set_parse_math(False)
    box = axes.get_position()
    shift = (LABEL_WIDTH - 52) / panels.figure.bbox.width
    axes.set_position((box.x0 + shift, box.y0, box.width - shift, box.height))
    room = 210 / (width - LABEL_WIDTH + 52)
    axes.set_xlim(0, longest / (1 - room))
    axes.set_ylim(-0.6, len(bars) - 0.4)
    style_axes(axes, grid="x")
    axes.tick_params(axis="y", labelsize=TICK_SIZE + 1, length=0)
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.set_xlabel(f"{unit} per epoch, mean after the first epoch", fontsize=LABEL_SIZE, labelpad=3)
    return panels.figure
