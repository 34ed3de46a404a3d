"""Many images at once, with their masks outlined."""

from collections.abc import Sequence

import numpy as np

from sbp.plots.pictures import annotation_picture, mask_keys
from sbp.plots.style import FAINT_TEXT, add_legend, figure_to_array, new_figure, shorten, styled

MARGIN, GAP, HEAD, TITLE = 10, 4, 30, 16


@styled
def contact_sheet(
    images: Sequence[np.ndarray],
    masks: Sequence[np.ndarray],
    titles: Sequence[str],
    defects: Sequence[str],
    columns: int = 8,
    scale: int = 2,
) -> np.ndarray:
    """A grid of images with the outlines of their masks, a title under each, and a legend on top.

    images: each (H, W, 1) or (H, W, 3) uint8; masks: one (H, W, D) per image, where all but 0 counts, D as
    many as `defects`; scale: pixels of the sheet per pixel of an image, at least 1. Returns (h, w, 3) uint8
    RGB. Raises ValueError without images, or for lengths or shapes that do not fit together.
    """
    if not images:
        raise ValueError("a contact sheet needs at least one image")
    if columns < 1 or scale < 1:
        raise ValueError(f"columns={columns}, scale={scale}, both must be at least 1")
    if not len(images) == len(masks) == len(titles):
        raise ValueError(f"{len(images)} images, {len(masks)} masks, {len(titles)} titles: must be as many")
    cell_width = max(image.shape[1] for image in images) * scale
    cell_height = max(image.shape[0] for image in images) * scale
    rows, used = -(-len(images) // columns), min(columns, len(images))
    width = max(2 * MARGIN + used * (cell_width + GAP) - GAP, 220)
    height = HEAD + rows * (cell_height + TITLE) + MARGIN
    figure = new_figure(width, height)
    legend = add_legend(figure, *mask_keys(defects), "upper left")
    legend.set_bbox_to_anchor((MARGIN / width, 1 - 8 / height), transform=figure.transFigure)
    places = [
        (MARGIN + (k % columns) * (cell_width + GAP), HEAD + k // columns * (cell_height + TITLE))
        for k in range(len(images))
    ]
    for title, (left, top) in zip(titles, places, strict=True):
        text = shorten(title, max(cell_width // 7, 3))  # a digit takes 7 pixels
        y = 1 - (top + cell_height + TITLE / 2) / height
        figure.text(left / width, y, text, fontsize=8, color=FAINT_TEXT, va="center")
    sheet = figure_to_array(figure)
    for image, mask, title, (left, top) in zip(images, masks, titles, places, strict=True):
        if mask.shape != (shape := (*image.shape[:2], len(defects))):
            raise ValueError(f"{title}: masks have shape {mask.shape}, must be {shape}")
        size = (image.shape[1] * scale, image.shape[0] * scale)
        sheet[top : top + size[1], left : left + size[0]] = annotation_picture(image, mask, size)
    return sheet
