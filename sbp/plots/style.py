"""Colours, font sizes and sizes in pixels that all figures share, and the way from a figure to a file.

Figures are made with matplotlib's object API alone: no global state, no display, safe in any thread.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text

DPI = 100

# Okabe and Ito (2008), told apart with any colour vision. Grey and the run colours are kept away from the
# first two defects, so that a line of a run is not taken for a defect.
HEALTHY_COLOUR = "#8C8C8C"
DEFECT_COLOURS = ("#D55E00", "#0072B2", "#009E73", "#E69F00", "#CC79A7", "#56B4E9")
RUN_COLOURS = ("#222222", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#0072B2", "#D55E00")
LineStyle = Literal["-", "--", ":"]
RUN_LINES: tuple[LineStyle, ...] = ("-", "--", ":")
LOSS_COLOUR_MAP = "magma"

TEXT = "#222222"
FAINT_TEXT = "#666666"
GRID = "#E4E4E4"
FRAME = "#B0B0B0"

TITLE_SIZE = 12.0
PANEL_TITLE_SIZE = 10.0
LABEL_SIZE = 9.0
TICK_SIZE = 8.0


def defect_colour(index: int) -> str:
    """Colour of the defect at `index` (0 ..), as #rrggbb; repeats after six."""
    return DEFECT_COLOURS[index % len(DEFECT_COLOURS)]


def group_names(defects: Sequence[str]) -> list[str]:
    """Names of the 1 + D groups of images: healthy, then one per defect."""
    return ["healthy", *defects]


def group_colours(num_defects: int) -> list[str]:
    """Colours of the 1 + D groups of images, in the order of `group_names`, as #rrggbb."""
    return [HEALTHY_COLOUR, *(defect_colour(index) for index in range(num_defects))]


def run_style(index: int) -> tuple[str, LineStyle]:
    """Colour (#rrggbb) and line style of the run at `index` (0 ..): 21 that differ, then they repeat."""
    return RUN_COLOURS[index % len(RUN_COLOURS)], RUN_LINES[index // len(RUN_COLOURS) % len(RUN_LINES)]


def rgb_bytes(colour: str) -> tuple[int, int, int]:
    """The colour as (red, green, blue), each 0..255."""
    red, green, blue = (round(255 * part) for part in to_rgb(colour))
    return red, green, blue


def shorten(text: str, characters: int, keep_end: bool = False) -> str:
    """`text` in at most `characters` (at least 1), an ellipsis in place of its end, or of its start."""
    if len(text) <= characters:
        return text
    kept = max(characters - 1, 0)
    return "…" + text[len(text) - kept :] if keep_end else text[:kept].rstrip() + "…"


def new_figure(width: int, height: int) -> Figure:
    """A white figure of `width` x `height` pixels with its own Agg canvas."""
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def add_axes_px(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Axes whose frame lies at these pixels of the figure, counted from its upper left corner."""
    total_width, total_height = pixel_size(figure)
    bottom = total_height - top - height
    return figure.add_axes(
        (left / total_width, bottom / total_height, width / total_width, height / total_height)
    )


def pixel_size(figure: Figure) -> tuple[int, int]:
    """(width, height) in pixels at scale 1."""
    width, height = figure.get_size_inches() * DPI
    return round(width), round(height)


def text_px(figure: Figure, left: float, top: float, text: str, **style: Any) -> Text:
    """Text at these pixels of the figure, counted from its upper left corner; returns the artist.

    A $ is a $, not the start of a formula: names of defects, runs and files may hold one.
    """
    width, height = pixel_size(figure)
    defaults: dict[str, Any] = {
        "parse_math": False,
        "color": TEXT,
        "fontsize": LABEL_SIZE,
        "va": "center",
        "ha": "left",
    }
    return figure.text(left / width, 1 - top / height, text, **(defaults | style))


def style_axes(axes: Axes, grid: str = "both") -> None:
    """Light grid behind the data (`grid`: both, x, y or none), no upper and right frame, readable ticks."""
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(FRAME)
    axes.tick_params(labelsize=TICK_SIZE, labelcolor=TEXT, color=FRAME, length=3)
    axes.set_axisbelow(True)
    if grid == "both" or grid == "x":
        axes.grid(True, axis="x", color=GRID, linewidth=0.7)
    if grid == "both" or grid == "y":
        axes.grid(True, axis="y", color=GRID, linewidth=0.7)


def frame_picture(axes: Axes) -> None:
    """A thin frame and no ticks, for axes that hold a picture."""
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_color(FRAME)
        spine.set_linewidth(0.6)


def figure_to_array(figure: Figure) -> np.ndarray:
    """The figure as drawn: (h, w, 3) uint8, RGB."""
    canvas = figure.canvas if isinstance(figure.canvas, FigureCanvasAgg) else FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def save_png(figure: Figure | np.ndarray, path: str | Path, scale: float = 1.0) -> Path:
    """Write a figure, or a picture (h, w, 3) uint8 RGB, as a PNG file; missing folders are made.

    scale: pixels of the file per pixel of the figure; 2 is crisp on dense screens. Only for figures.
    Returns the path. Raises ValueError for an array that is no RGB picture, OSError if it cannot be written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(figure, Figure):
        # without the version, the same figure gives the same bytes
        figure.savefig(path, format="png", dpi=DPI * scale, metadata={"Software": None}, facecolor="white")
        return path
    if figure.dtype != np.uint8 or figure.ndim != 3 or figure.shape[2] != 3:
        raise ValueError(
            f"a picture of shape {figure.shape} and type {figure.dtype}, must be (h, w, 3) uint8"
        )
    # OpenCV's own defaults are fast and leave a drawing three times as large
    quality = [cv2.IMWRITE_PNG_COMPRESSION, 6, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_DEFAULT]
    encoded = cv2.imencode(".png", cv2.cvtColor(figure, cv2.COLOR_RGB2BGR), quality)[1]
    path.write_bytes(encoded.tobytes())
    return path
