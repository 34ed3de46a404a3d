"""Seconds per epoch as bars, with the speed-up beside what the cost model allows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from sbp.plots.style import TEXT, WIDTH, framed_figure, shorten, styled, swatch

PITCH, FOOT = 34, 52
"""Pixels from bar to bar, and of the axis below them."""
PART_COLOURS = ("#0072B2", "#999999", "#E69F00", "#CC79A7")


@dataclass(frozen=True)
class Bar:
    """One arm. parts: by name, one number per seed, which are stacked; ideal: speed-up over the first bar
    that the cost model allows, or None; colour: of all parts, #rrggbb, or None for one colour per part."""

    label: str
    parts: Mapping[str, Sequence[float]]
    ideal: float | None = None
    colour: str | None = None

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


@styled
def bars_figure(bars: Sequence[Bar], *, title: str, unit: str) -> Figure:
    """Horizontal stacked bars of the means over seeds, dots for the seeds' totals. Raises ValueError
    without bars."""
    if not bars:
        raise ValueError("bars_figure needs bars")
    names = list(dict.fromkeys(name for bar in bars for name in bar.parts))
    about = "In brackets: speed-up over the first bar, and what the cost model allows. Dots: seeds."
    keys = [swatch(colour, facecolor=colour) for colour in part_colours(names).values()]
    figure, (body,) = framed_figure(WIDTH, [PITCH * len(bars) + FOOT], title, about, keys, names)
    draw_bars(body.add_subplot(), bars, unit)
    return figure


def part_colours(names: Sequence[str]) -> dict[str, str]:
    """Colours of the parts of bars, by name."""
    return {name: PART_COLOURS[i % len(PART_COLOURS)] for i, name in enumerate(names)}


def draw_bars(axes: Axes, bars: Sequence[Bar], unit: str) -> None:
    """One stacked bar per arm, the first on top, with dots for seeds and a text at its end."""
    colours = part_colours(list(dict.fromkeys(name for bar in bars for name in bar.parts)))
    longest = max((float(t.max()) for bar in bars if len(t := bar.totals())), default=1.0) or 1.0
    for row, bar in enumerate(bars):
        left, totals = 0.0, bar.totals()
        for name, values in bar.parts.items():
            if len(values) and np.isfinite(values).all():
                mean = float(np.mean(values))
                axes.barh(row, mean, left=left, height=0.5, color=bar.colour or colours[name], zorder=2)
                left += mean
        if len(totals) > 1:
            axes.plot(
                totals, np.full(len(totals), row), linestyle="none", marker="o", markersize=4, color="white",
                markeredgecolor=TEXT, markeredgewidth=0.8, zorder=3,
            )  # fmt: skip
        end = max(left, float(totals.max(initial=0.0)))
        axes.annotate(
            bar_text(bar, bars[0], unit), (end, row), (9, 0), textcoords="offset points", va="center"
        )
    axes.set_yticks(range(len(bars)), [shorten(bar.label, 52) for bar in bars], fontsize=9)
    axes.tick_params(axis="y", length=0)
    axes.grid(False, axis="y")
    axes.set(xlim=(0, longest / 0.7), ylim=(len(bars) - 0.5, -0.5))  # on the right, room for the texts
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.set_xlabel(f"{unit} per epoch, mean after the first epoch")
