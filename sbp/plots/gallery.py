"""Pictures of single images: the gallery of the biggest losers, and masks drawn over an image."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from sbp.plots.style import (
    FAINT_TEXT,
    FRAME,
    LABEL_SIZE,
    LOSS_COLOUR_MAP,
    PANEL_TITLE_SIZE,
    TICK_SIZE,
    TITLE_SIZE,
    add_axes_px,
    defect_colour,
    frame_picture,
    new_figure,
    rgb_bytes,
    shorten,
    text_px,
)

COLUMNS = ("picture", "annotation", "prediction", "loss")
CELL_AREA = 232 * 232
CLEAN_COLOUR = "#F0E442"  # the yellow of Okabe and Ito, seen on light and dark metal alike
THRESHOLD = 0.5
MARGIN, GAP, ROW_TITLE, ROW_GAP = 12, 8, 20, 12


@dataclass(frozen=True)
class GalleryEntry:
    """One image of the gallery.

    image: (H, W, C) or (H, W) uint8, grey or RGB; annotation: (H, W, D), 0 or 1; prediction: (H, W, D)
    probabilities; loss_map: (H, W, D) in nats; score: the image's score in nats, NaN if it has none;
    name: of the image; note: what the reader should know, may be empty; clean: (H, W, D), 0 or 1, the
    true mask where it is known. Raises ValueError for shapes that do not fit together.
    """

    image: np.ndarray
    annotation: np.ndarray
    prediction: np.ndarray
    loss_map: np.ndarray
    score: float
    name: str
    note: str = ""
    clean: np.ndarray | None = None

    def __post_init__(self) -> None:
        maps = {"annotation": self.annotation, "prediction": self.prediction, "loss_map": self.loss_map}
        if self.clean is not None:
            maps["clean"] = self.clean
        shape = (*self.image.shape[:2], self.annotation.shape[-1])
        for name, values in maps.items():
            if values.shape != shape:
                raise ValueError(f"{self.name}: {name} has shape {values.shape}, must be {shape}")


def gallery_figure(
    entries: Sequence[GalleryEntry],
    defects: Sequence[str],
    columns: Sequence[str] = COLUMNS,
    *,
    title: str = "Images with the highest scores",
) -> Figure:
    """One row per image, in the order given, under a title with its name, note and score.

    columns: any of `picture`; `annotation` (outlines; the clean mask dashed in yellow); `prediction`
    (probabilities as tint, outline at 0.5); `loss` (largest loss over the defects) or `loss:<defect>`, in
    nats, on one colour scale for the whole figure. Maps are shrunk by their maximum, so that a single bad
    pixel stays visible. Raises ValueError without entries, or for an unknown column.
    """
    if not entries:
        raise ValueError("a gallery needs at least one entry")
    allowed = (*COLUMNS, *(f"loss:{defect}" for defect in defects))
    for column in columns:
        if column not in allowed:
            raise ValueError(f"unknown gallery column {column!r}, allowed are {', '.join(allowed)}")
    for entry in entries:
        if entry.annotation.shape[-1] != len(defects):
            raise ValueError(f"{entry.name}: {entry.annotation.shape[-1]} maps for {len(defects)} defects")

    has_loss = any(column.startswith("loss") for column in columns)
    highest = max(_highest(entry.loss_map) for entry in entries) if has_loss else 1.0
    norm = Normalize(0, highest or 1.0)
    cells = [cell_size(entry.image) for entry in entries]
    cell_width = max(max(width for width, _ in cells), -(-460 // len(columns)))
    body_width = len(columns) * cell_width + (len(columns) - 1) * GAP
    bar_width = 64 if has_loss else 0
    width = 2 * MARGIN + body_width + bar_width
    head = 92
    height = head + sum(ROW_TITLE + cell_height + ROW_GAP for _, cell_height in cells)
    figure = new_figure(width, height)

    text_px(figure, MARGIN, 18, shorten(title, width // 10), fontsize=TITLE_SIZE, fontweight="bold")
    draw_mask_legend(figure, defects, 44, has_clean=any(entry.clean is not None for entry in entries))
    for index, column in enumerate(columns):
        x = MARGIN + index * (cell_width + GAP) + cell_width / 2
        name = column.replace("loss:", "loss of ")
        text_px(figure, x, 74, shorten(name, cell_width // 7), ha="center", fontsize=PANEL_TITLE_SIZE)

    top: float = head
    for rank, (entry, (entry_width, entry_height)) in enumerate(zip(entries, cells, strict=True), start=1):
        _draw_row_title(figure, entry, rank, top, body_width)
        for index, column in enumerate(columns):
            left = MARGIN + index * (cell_width + GAP) + (cell_width - entry_width) // 2
            axes = add_axes_px(figure, left, top + ROW_TITLE, entry_width, entry_height)
            picture = _cell(entry, column, defects, (entry_width, entry_height), norm)
            axes.imshow(picture, aspect="auto", interpolation="antialiased")
            frame_picture(axes)
        top += ROW_TITLE + entry_height + ROW_GAP
    if has_loss:
        bar_height = min(height - head - ROW_TITLE - ROW_GAP, 220)
        axes = add_axes_px(figure, MARGIN + body_width + 10, head + ROW_TITLE, 11, bar_height)
        bar = figure.colorbar(ScalarMappable(norm, LOSS_COLOUR_MAP), cax=axes)
        bar.set_label("pixel loss (nats)", fontsize=LABEL_SIZE)
        bar.outline.set_edgecolor(FRAME)
        axes.tick_params(labelsize=TICK_SIZE, color=FRAME, length=3)
    return figure


def overlay(image: np.ndarray, masks: np.ndarray, alpha: float = 0.4) -> np.ndarray:
    """The image with each defect's mask as a translucent tint and an outline around it.

    image: (H, W), (H, W, 1) or (H, W, 3) uint8; masks: (H, W, D) bool, or integers where all but 0 counts;
    alpha: opacity of the tint, 0..1. The outline lies just outside the mask, 1 pixel wide plus one per 512
    pixels of the longer side. Returns (H, W, 3) uint8 RGB. Raises ValueError if shapes or alpha do not fit.
    """
    if masks.ndim != 3 or masks.shape[:2] != image.shape[:2]:
        raise ValueError(f"masks of shape {masks.shape} for an image of shape {image.shape}")
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha={alpha}, must lie in 0..1")
    masks = masks.astype(bool)
    picture = to_rgb_image(image)
    for index in range(masks.shape[-1]):
        tint(picture, masks[..., index] * alpha, defect_colour(index))
    thickness = outline_width(picture)
    for index in range(masks.shape[-1]):
        outline(picture, masks[..., index], defect_colour(index), thickness)
    return picture


def to_rgb_image(image: np.ndarray) -> np.ndarray:
    """A copy of an image (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) uint8 as (H, W, 3) RGB."""
    if image.dtype != np.uint8 or image.ndim not in (2, 3):
        raise ValueError(f"an image of shape {image.shape} and type {image.dtype}, must be (H, W, C) uint8")
    if image.ndim == 2:
        image = image[..., None]
    if image.shape[2] >= 3:
        return np.ascontiguousarray(image[..., :3]).copy()
    return np.repeat(image[..., :1], 3, axis=2)


def tint(picture: np.ndarray, opacity: np.ndarray, colour: str) -> None:
    """Blend a colour into the picture (H, W, 3) uint8, in place; opacity (H, W) 0..1, 0 changes nothing."""
    where = opacity > 0
    share = opacity[where].astype(np.float32)[:, None]
    blended = picture[where] * (1 - share) + np.array(rgb_bytes(colour), dtype=np.float32) * share
    picture[where] = blended.round().astype(np.uint8)


def outline(
    picture: np.ndarray, mask: np.ndarray, colour: str, thickness: int = 1, dashed: bool = False
) -> None:
    """Draw the line around a mask (H, W) into the picture (H, W, 3) uint8, in place, outside the mask."""
    mask = np.ascontiguousarray(mask, dtype=np.uint8)
    kernel = np.ones((2 * thickness + 1, 2 * thickness + 1), np.uint8)
    line = (cv2.dilate(mask, kernel) > 0) & (mask == 0)
    if dashed:
        line &= _dashes(mask, thickness)
    picture[line] = rgb_bytes(colour)


def outline_width(picture: np.ndarray) -> int:
    """Width of an outline in pixels: 1, plus one per 512 pixels of the picture's longer side."""
    return 1 + max(picture.shape[:2]) // 512


def cell_size(image: np.ndarray, area: int = CELL_AREA, longest: int = 420) -> tuple[int, int]:
    """(width, height) in pixels of a cell of about `area` pixels with the image's aspect."""
    height, width = image.shape[:2]
    scale = min((area / (height * width)) ** 0.5, longest / width, longest / height)
    return max(round(width * scale), 24), max(round(height * scale), 24)


def fit_image(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The image as RGB, resized to `size` (width, height)."""
    interpolation = cv2.INTER_AREA if size[0] < image.shape[1] else cv2.INTER_LINEAR
    return cv2.resize(to_rgb_image(image), size, interpolation=interpolation)


def fit_map(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A map (H, W) resized to `size` (width, height) as float32: the maximum when it shrinks; NaN is 0."""
    values = np.nan_to_num(np.ascontiguousarray(values, dtype=np.float32))
    height, width = values.shape
    reach_y, reach_x = (int(np.ceil(max(ratio - 1, 0) / 2)) for ratio in (height / size[1], width / size[0]))
    if reach_x or reach_y:
        values = cv2.dilate(values, np.ones((2 * reach_y + 1, 2 * reach_x + 1), np.uint8))
    rows = ((np.arange(size[1]) + 0.5) * height / size[1]).astype(int)
    columns = ((np.arange(size[0]) + 0.5) * width / size[0]).astype(int)
    return values[rows][:, columns]


def annotation_picture(
    image: np.ndarray, annotation: np.ndarray, size: tuple[int, int], clean: np.ndarray | None = None
) -> np.ndarray:
    """The image with the outlines of its annotation (H, W, D), and of the clean mask dashed in yellow."""
    picture = fit_image(image, size)
    for index in range(annotation.shape[-1]):
        outline(picture, fit_map(annotation[..., index], size) > 0, defect_colour(index), 2)
    if clean is not None:
        for index in range(clean.shape[-1]):
            outline(picture, fit_map(clean[..., index], size) > 0, CLEAN_COLOUR, 1, dashed=True)
    return picture


def prediction_picture(image: np.ndarray, prediction: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The image tinted by the probabilities (H, W, D), with an outline where they reach 0.5."""
    picture = fit_image(image, size)
    maps = [fit_map(prediction[..., index], size) for index in range(prediction.shape[-1])]
    for index, probability in enumerate(maps):
        # what is next to certain that it is healthy stays as it is
        tint(picture, 0.5 * np.where(probability < 0.02, 0, np.clip(probability, 0, 1)), defect_colour(index))
    for index, probability in enumerate(maps):
        outline(picture, probability >= THRESHOLD, defect_colour(index), 2)
    return picture


def draw_mask_legend(
    figure: Figure, defects: Sequence[str], top: float, has_clean: bool, left: float = MARGIN
) -> None:
    """A legend of the defects' colours at `top` pixels, with the clean mask's dashes if `has_clean`."""
    handles: list[Patch | Line2D] = [
        Patch(facecolor=to_rgba(defect_colour(i), 0.35), edgecolor=defect_colour(i), linewidth=1.6)
        for i in range(len(defects))
    ]
    names = [shorten(defect, 24) for defect in defects]
    if has_clean:
        dashes = (0, (2, 1))
        handles.append(Patch(facecolor="#777777", edgecolor=CLEAN_COLOUR, linewidth=1.6, linestyle=dashes))
        names.append("true mask (dashed)")
    width, height = figure.get_size_inches() * figure.dpi
    legend = figure.legend(
        handles, names, loc="center left", bbox_to_anchor=(left / width, 1 - top / height), ncols=len(names),
        frameon=False, fontsize=LABEL_SIZE, handlelength=1.5, columnspacing=1.8, borderaxespad=0, borderpad=0,
    )  # fmt: skip
    for text in legend.get_texts():
        text.set_parse_math(False)


def _draw_row_title(figure: Figure, entry: GalleryEntry, rank: int, top: float, width: float) -> None:
    score = "no score" if np.isnan(entry.score) else f"score {entry.score:.3g} nats"
    note = shorten(entry.note, max(int(width / 6.5) - len(score) - 42, 12))
    room = int(width / 7.6) - len(score) - len(note) - 8
    name = shorten(entry.name, max(room, 8), keep_end=True)
    y = top + ROW_TITLE / 2 - 1
    text_px(figure, MARGIN, y, f"{rank}  {name}", fontweight="bold")
    right = f"{note}  ·  {score}" if note else score
    text_px(figure, MARGIN + width, y, right, ha="right", color=FAINT_TEXT)


def _cell(
    entry: GalleryEntry, column: str, defects: Sequence[str], size: tuple[int, int], norm: Normalize
) -> np.ndarray:
    if column == "picture":
        return fit_image(entry.image, size)
    if column == "annotation":
        return annotation_picture(entry.image, entry.annotation, size, entry.clean)
    if column == "prediction":
        return prediction_picture(entry.image, entry.prediction, size)
    if column == "loss":
        values = entry.loss_map.max(axis=-1)
    else:
        values = entry.loss_map[..., list(defects).index(column.removeprefix("loss:"))]
    colours = colormaps[LOSS_COLOUR_MAP](norm(fit_map(values, size)))
    return (np.asarray(colours)[..., :3] * 255).round().astype(np.uint8)


def _dashes(mask: np.ndarray, thickness: int) -> np.ndarray:
    """(H, W) bool: every other piece of the mask's contours, a few pixels long, widened to the line."""
    pieces = np.zeros(mask.shape, np.uint8)
    contours, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    for contour in contours:
        points = contour[:, 0]
        drawn = points[np.arange(len(points)) % 10 < 5]
        pieces[drawn[:, 1], drawn[:, 0]] = 1
    return cv2.dilate(pieces, np.ones((2 * thickness + 1, 2 * thickness + 1), np.uint8)) > 0


def _highest(values: np.ndarray) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.max()) if finite.size else 0.0
