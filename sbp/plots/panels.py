"""Small multiples with one legend: what the figures of the report have in common."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sbp.plots.style import (
    FAINT_TEXT,
    LABEL_SIZE,
    PANEL_TITLE_SIZE,
    TITLE_SIZE,
    add_axes_px,
    new_figure,
    shorten,
    text_px,
)

WIDTH, MARGIN = 1000, 14
LEGEND_ROW, LEGEND_HANDLE = 20, 44
CHARACTER = 6.9
"""Width of an average character of the legend in pixels."""


def legend_rows(labels: Sequence[str]) -> list[list[int]]:
    """Labels by number, as many to a row as fit."""
    rows: list[list[int]] = [[]]
    used = 0.0
    for number, label in enumerate(labels):
        width = LEGEND_HANDLE + CHARACTER * len(shorten(label, 60)) + 16
        if rows[-1] and used + width > WIDTH - 2 * MARGIN:
            rows.append([])
            used = 0.0
        rows[-1].append(number)
        used += width
    return rows


class Panels:
    """A figure of panels in rows and columns below a title and a legend, 1000 pixels wide.

    labels, styles: the legend's entries and the keyword arguments of their lines; none for no legend.
    """

    def __init__(
        self,
        count: int,
        title: str,
        about: str,
        labels: Sequence[str] = (),
        styles: Sequence[dict[str, Any]] = (),
        *,
        columns: int | None = None,
        height: int = 210,
        gap: tuple[int, int] = (58, 74),
    ):
        self.columns = columns or (count if count <= 2 else 2 if count == 4 else 3)
        self.rows = -(-count // self.columns)
        self.height, self.gap = height, gap
        entries = legend_rows(labels) if labels else []
        self.top = 34 + (20 if about else 0) + LEGEND_ROW * len(entries) + 34
        total = self.top + self.rows * height + (self.rows - 1) * gap[1] + 52
        self.figure: Figure = new_figure(WIDTH, total)
        text_px(self.figure, MARGIN, 20, shorten(title, 100), fontsize=TITLE_SIZE + 1, fontweight="bold")
        if about:
            text_px(self.figure, MARGIN, 41, shorten(about, 170), color=FAINT_TEXT, fontsize=LABEL_SIZE)
        self._legend(entries, labels, styles, 48 + (20 if about else 0), total)

    def _legend(self, rows, labels, styles, top: float, total: float) -> None:
        for r, row in enumerate(rows):
            x, y = float(MARGIN), top + LEGEND_ROW * r
            for number in row:
                line = Line2D([x / WIDTH, (x + 28) / WIDTH], [1 - y / total] * 2, **styles[number])
                self.figure.add_artist(line)
                text = shorten(labels[number], 60)
                text_px(self.figure, x + 34, y, text, fontsize=PANEL_TITLE_SIZE - 0.5)
                x += LEGEND_HANDLE + CHARACTER * len(text) + 16

    def axes(self, index: int) -> Axes:
        """The axes of the panel at `index`, row by row."""
        row, column = divmod(index, self.columns)
        left, right = 52, 20
        width = (WIDTH - left - right - self.gap[0] * (self.columns - 1)) / self.columns
        return add_axes_px(
            self.figure,
            left + column * (width + self.gap[0]),
            self.top + row * (self.height + self.gap[1]),
            width,
            self.height,
        )


def panel_title(axes: Axes, title: str) -> None:
    """A panel's title, cut to its width."""
    axes.set_title(
        shorten(title, int(axes.bbox.width / 6.6)),
        fontsize=PANEL_TITLE_SIZE,
        fontweight="bold",
        loc="left",
        pad=6,
        parse_math=False,
    )
