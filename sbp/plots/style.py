"""Colours, texts and legends that all figures share, and the way from a figure to a file.

Figures are made with matplotlib's object API: no pyplot, no display.
"""

import functools
import textwrap
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, ParamSpec, TypeVar

import cv2
import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb, to_rgba
from matplotlib.figure import Figure, SubFigure
from matplotlib.legend import Legend
from matplotlib.patches import Patch

DPI, WIDTH, MARGIN = 100, 1000, 12
"""Pixels per inch; at scale 1, the width of most figures and the margin of their texts in pixels."""
STYLE = matplotlib.rc_params_from_file(Path(__file__).with_name("sbp.mplstyle"), use_default_template=False)

# Okabe and Ito (2008), told apart with any colour vision. Grey and the run colours are kept away from the
# first two defects, so that a line of a run is not taken for a defect.
HEALTHY_COLOUR = "#8C8C8C"
DEFECT_COLOURS = ("#D55E00", "#0072B2", "#009E73", "#E69F00", "#CC79A7", "#56B4E9")
RUN_COLOURS = ("#222222", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#0072B2", "#D55E00")
LineStyle = Literal["-", "--", ":"]
RUN_LINES: tuple[LineStyle, ...] = ("-", "--", ":")
TEXT, FAINT_TEXT, GRID, FRAME = "#222222", "#666666", "#E4E4E4", "#B0B0B0"

P = ParamSpec("P")
R = TypeVar("R")
_SETTINGS = threading.RLock()


def styled(draw: Callable[P, R]) -> Callable[P, R]:
    """Let a function draw in the style of sbp.mplstyle; matplotlib's own settings are as before after it."""

    @functools.wraps(draw)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        with _SETTINGS, matplotlib.rc_context(STYLE):
            return draw(*args, **kwargs)

    return wrapper


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


def new_figure(width: int, height: float) -> Figure:
    """A white figure of `width` x `height` pixels with its own Agg canvas, whose layout keeps texts apart."""
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def framed_figure(
    width: int,
    heights: Sequence[float],
    title: str,
    about: str = "",
    handles: Sequence[Artist] = (),
    labels: Sequence[str] = (),
) -> tuple[Figure, Sequence[SubFigure]]:
    """A figure with title, a faint line below it, and legend; below those, a part per height in pixels."""
    figure = new_figure(width, 100)
    legend = add_legend(figure, handles, labels, "upper left")
    head = 62 if about else 42
    legend_height = legend.get_window_extent().height if labels else 0
    height = head + legend_height + sum(heights)
    figure.set_figheight(height / DPI)
    left = MARGIN / width
    legend.set_bbox_to_anchor((left, 1 - (head - 6) / height), transform=figure.transFigure)
    figure.text(left, 1 - 22 / height, shorten(title, int(width / 9.5)), fontsize=13, fontweight="bold")
    figure.text(left, 1 - 44 / height, shorten(about, int(width / 5.8)), color=FAINT_TEXT)
    parts = figure.subfigures(
        1 + len(heights), 1, height_ratios=[head + legend_height, *heights], squeeze=False, facecolor="none"
    )
    return figure, list(parts[1:, 0])


def add_legend(
    figure: Figure | SubFigure, handles: Sequence[Artist], labels: Sequence[str], loc: Any
) -> Legend:
    """A legend in as many columns as fit in the figure's width."""
    names = [shorten(label, 60) for label in labels]
    for columns in range(max(len(names), 1), 0, -1):
        legend = figure.legend(handles, names, loc=loc, ncols=columns)
        if columns == 1 or legend.get_window_extent().width < figure.bbox.width - 2 * MARGIN:
            break
        legend.remove()
    return legend


def swatch(colour: str, **style: Any) -> Patch:
    """A legend's key for what is filled in a colour."""
    return Patch(**{"facecolor": to_rgba(colour, 0.45), "edgecolor": colour, "linewidth": 1.5, **style})


def wrapped(text: str, width: float) -> str:
    """`text` on at most two lines that are that many pixels wide."""
    return "\n".join(textwrap.wrap(text, max(int(width / 7.3), 6), max_lines=2, placeholder="…"))


def fitting(text: str, axes_width: float) -> str:
    """The title of axes that are that many pixels wide, cut to them."""
    return shorten(text, max(int(axes_width / 7.3), 4))


@styled
def figure_to_array(figure: Figure) -> np.ndarray:
    """The figure as drawn: (h, w, 3) uint8, RGB."""
    canvas = figure.canvas if isinstance(figure.canvas, FigureCanvasAgg) else FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


@styled
def save_png(figure: Figure | np.ndarray, path: str | Path, scale: float = 1.0) -> Path:
    """Write a figure, or a picture (h, w, 3) uint8 RGB, as a PNG file; missing folders are made.

    scale: pixels of the file per pixel of the figure; 2 is crisp on dense screens. Only for figures.
    Returns the path. Raises ValueError for an array that is no RGB picture, OSError if it cannot be written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(figure, Figure):
        # without the version, the same figure gives the same bytes
        figure.savefig(path, format="png", dpi=DPI * scale, metadata={"Software": None})
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
