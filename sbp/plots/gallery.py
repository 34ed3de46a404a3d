"""The gallery of the biggest losers: images with their annotation, prediction and loss."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from sbp.plots.pictures import (
    GAP,
    HEAD,
    ROW_TITLE,
    annotation_picture,
    cell_size,
    columns_width,
    draw_rows,
    fit_image,
    fit_map,
    mask_keys,
    prediction_picture,
    rows_height,
)
from sbp.plots.style import framed_figure, shorten, styled

COLUMNS = ("picture", "annotation", "prediction", "loss")
BAR = 74
"""Pixels of the colour bar with its texts."""


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

    def title(self, rank: int, characters: int) -> tuple[str, str]:
        """Its rank and name; its note and score; together in so many characters."""
        score = "no score" if np.isnan(self.score) else f"score {self.score:.3g} nats"
        about = "  ·  ".join(text for text in (shorten(self.note, characters // 2), score) if text)
        return f"{rank}  {shorten(self.name, max(characters - len(about), 12), keep_end=True)}", about


@styled
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
    _check(entries, defects, columns)
    has_loss = any(column.startswith("loss") for column in columns)
    highest = max(_highest(entry.loss_map) for entry in entries) if has_loss else 1.0
    norm = Normalize(0, highest or 1.0)
    sizes = [cell_size(entry.image) for entry in entries]
    body_width, height = columns_width(sizes, len(columns)), rows_height(sizes, has_titles=True)
    width = max(body_width + BAR * has_loss, 460)
    keys = mask_keys(defects, any(entry.clean is not None for entry in entries))
    figure, (body,) = framed_figure(width, [height], title, "", *keys)
    rows = [
        [_cell(e, column, defects, size, norm) for column in columns]
        for e, size in zip(entries, sizes, strict=True)
    ]
    titles = [entry.title(rank, body_width // 8) for rank, entry in enumerate(entries, 1)]
    if len(columns) == 1:
        titles = [("   ".join(title), "") for title in titles]
    draw_rows(body, rows, sizes, [column.replace("loss:", "loss of ") for column in columns], titles)
    if has_loss:
        top, bar_height = HEAD + ROW_TITLE, min(height - HEAD - ROW_TITLE - GAP, 220)
        place = (body_width / width, 1 - (top + bar_height) / height, 11 / width, bar_height / height)
        bar = figure.colorbar(ScalarMappable(norm, "magma"), cax=body.add_axes(place))
        bar.set_label("pixel loss (nats)")
    return figure


def _check(entries: Sequence[GalleryEntry], defects: Sequence[str], columns: Sequence[str]) -> None:
    if not entries:
        raise ValueError("a gallery needs at least one entry")
    allowed = (*COLUMNS, *(f"loss:{defect}" for defect in defects))
    for column in columns:
        if column not in allowed:
            raise ValueError(f"unknown gallery column {column!r}, allowed are {', '.join(allowed)}")
    for entry in entries:
        if entry.annotation.shape[-1] != len(defects):
            raise ValueError(f"{entry.name}: {entry.annotation.shape[-1]} maps for {len(defects)} defects")


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
    colours = colormaps["magma"](norm(fit_map(values, size)))
    return (np.asarray(colours)[..., :3] * 255).round().astype(np.uint8)


def _highest(values: np.ndarray) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.max()) if finite.size else 0.0
