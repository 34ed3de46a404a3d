"""Pictures of single images, as arrays: masks, predictions and losses drawn over them; and rows of them."""

from collections.abc import Sequence

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import SubFigure
from matplotlib.patches import Patch

from sbp.plots.style import (
    FAINT_TEXT,
    MARGIN,
    defect_colour,
    rgb_bytes,
    shorten,
    swatch,
    wrapped,
)

CELL_AREA = 232 * 232
CLEAN_COLOUR = "#F0E442"  # the yellow of Okabe and Ito, seen on light and dark metal alike
VOID_COLOUR = "#808080"
VOID = 255
"""In a mask: a pixel of which nobody says what it shows."""
THRESHOLD = 0.5
HEAD, ROW_TITLE, CAPTION, GAP = 36, 20, 34, 8
"""Pixels of the names of columns, of a row's title, of two lines below a picture, and between pictures."""


def overlay(image: np.ndarray, masks: np.ndarray, alpha: float = 0.4) -> np.ndarray:
    """The image with each defect's mask as a translucent tint and an outline around it.

    image: (H, W), (H, W, 1) or (H, W, 3) uint8; masks: (H, W, D) bool, or integers where all but 0 counts
    and VOID is tinted grey;
    alpha: opacity of the tint, 0..1. The outline lies just outside the mask, 1 pixel wide plus one per 512
    pixels of the longer side. Returns (H, W, 3) uint8 RGB. Raises ValueError if shapes or alpha do not fit.
    """
    if masks.ndim != 3 or masks.shape[:2] != image.shape[:2]:
        raise ValueError(f"masks of shape {masks.shape} for an image of shape {image.shape}")
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha={alpha}, must lie in 0..1")
    masks, void = known_and_void(masks)
    picture = to_rgb_image(image)
    tint(picture, void * alpha, VOID_COLOUR)
    for index in range(masks.shape[-1]):
        tint(picture, masks[..., index] * alpha, defect_colour(index))
    thickness = outline_width(picture)
    for index in range(masks.shape[-1]):
        outline(picture, masks[..., index], defect_colour(index), thickness)
    return picture


def known_and_void(masks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Masks (H, W, D) as bool without the pixels of which nobody says what they show, and those (H, W)."""
    void = np.equal(masks, VOID) & (masks.dtype != bool)
    return masks.astype(bool) & ~void, np.asarray(void.any(axis=-1))


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
    image: np.ndarray,
    annotation: np.ndarray,
    size: tuple[int, int],
    clean: np.ndarray | None = None,
    dense: int = 1,
) -> np.ndarray:
    """The image with the outlines of its annotation (H, W, D), and of the clean mask dashed in yellow. Where
    the annotation is VOID the picture is grey.

    size: (width, height) in pixels of the picture; dense: how many of them make a pixel of the figure.
    """
    picture = fit_image(image, size)
    annotation, void = known_and_void(annotation)
    tint(picture, (fit_map(void, size) > 0) * 0.6, VOID_COLOUR)
    for index in range(annotation.shape[-1]):
        outline(picture, fit_map(annotation[..., index], size) > 0, defect_colour(index), 2 * dense)
    if clean is not None:
        for index in range(clean.shape[-1]):
            outline(picture, fit_map(clean[..., index], size) > 0, CLEAN_COLOUR, dense, dashed=True)
    return picture


def prediction_picture(
    image: np.ndarray,
    prediction: np.ndarray,
    size: tuple[int, int],
    dense: int = 1,
    regions: np.ndarray | None = None,
) -> np.ndarray:
    """The image tinted by the probabilities (H, W, D), with an outline around the regions (H, W, D) bool, by
    default where they reach 0.5."""
    picture = fit_image(image, size)
    maps = [fit_map(prediction[..., index], size) for index in range(prediction.shape[-1])]
    regions = prediction >= THRESHOLD if regions is None else regions
    for index, probability in enumerate(maps):
        # what is next to certain that it is healthy stays as it is
        tint(picture, 0.5 * np.where(probability < 0.02, 0, np.clip(probability, 0, 1)), defect_colour(index))
    for index in range(regions.shape[-1]):
        outline(picture, fit_map(regions[..., index], size) > 0, defect_colour(index), 2 * dense)
    return picture


def _dashes(mask: np.ndarray, thickness: int) -> np.ndarray:
    """(H, W) bool: every other piece of the mask's contours, a few pixels long, widened to the line."""
    pieces = np.zeros(mask.shape, np.uint8)
    contours, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    for contour in contours:
        points = contour[:, 0]
        drawn = points[np.arange(len(points)) % (10 * thickness) < 5 * thickness]
        pieces[drawn[:, 1], drawn[:, 0]] = 1
    return cv2.dilate(pieces, np.ones((2 * thickness + 1, 2 * thickness + 1), np.uint8)) > 0


def mask_keys(defects: Sequence[str], has_clean: bool = False) -> tuple[list[Patch], list[str]]:
    """A legend's keys and names of the defects' colours, with the clean mask's dashes if `has_clean`."""
    keys = [swatch(defect_colour(index)) for index in range(len(defects))]
    names = [shorten(defect, 24) for defect in defects]
    if has_clean:
        dashes = (0, (2, 1))
        keys.append(swatch(CLEAN_COLOUR, facecolor="#777777", linestyle=dashes))
        names.append("true mask (dashed)")
    return keys, names


def draw_rows(
    figure: SubFigure,
    rows: Sequence[Sequence[np.ndarray]],
    sizes: Sequence[tuple[int, int]],
    columns: Sequence[str],
    titles: Sequence[tuple[str, str]] = (),
    captions: Sequence[Sequence[str]] = (),
) -> None:
    """Rows of pictures, pixel by pixel where they are as large as their cell.

    figure: `columns_width` wide at least and `rows_height` high; rows: pictures (h, w, 3) uint8; sizes:
    (width, height) of each row's cells in the figure's pixels; columns: names above them; titles: of the
    rows, at their left and right ends, or none; captions: for each row the texts below its pictures, or none.
    """
    total_width, total_height = figure.bbox.size
    cell, top = max(width for width, _ in sizes), float(HEAD)
    for r, (row, (width, height)) in enumerate(zip(rows, sizes, strict=True)):
        top += ROW_TITLE if titles else 0
        drawn: list[Axes] = []
        for c, picture in enumerate(row):
            left = MARGIN + c * (cell + GAP) + (cell - width) / 2
            box = (left / total_width, 1 - (top + height) / total_height)
            axes = figure.add_axes((*box, width / total_width, height / total_height))
            axes.imshow(picture, aspect="auto")
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set(visible=True, linewidth=0.6)
            drawn.append(axes)
        if titles:
            drawn[0].set_title(titles[r][0], loc="left", fontsize=9)
            drawn[-1].set_title(titles[r][1], loc="right", fontsize=9, fontweight="normal", color=FAINT_TEXT)
        top += height
        if captions:
            for axes, caption in zip(drawn, captions[r], strict=True):
                axes.set_xlabel(wrapped(caption, cell + GAP), labelpad=3, fontweight="bold")
            top += CAPTION
        top += GAP
    for c, name in enumerate(columns):
        x = (MARGIN + c * (cell + GAP) + cell / 2) / total_width
        figure.text(x, 1 - (HEAD - 5) / total_height, wrapped(name, cell + GAP), ha="center", va="bottom")


def columns_width(sizes: Sequence[tuple[int, int]], columns: int) -> int:
    """Pixels that `draw_rows` needs from left to right."""
    return 2 * MARGIN + columns * (max(width for width, _ in sizes) + GAP) - GAP


def rows_height(
    sizes: Sequence[tuple[int, int]], has_titles: bool = False, has_captions: bool = False
) -> int:
    """Pixels that `draw_rows` needs from top to bottom."""
    return HEAD + sum(height + GAP + ROW_TITLE * has_titles + CAPTION * has_captions for _, height in sizes)
