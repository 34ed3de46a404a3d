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
def gallery_figure(entries: Sequence[GalleryEntry], defects: Sequence[str]) -> Figure:
    """One row per image, in the order given, under a title with its name, note and score.

    Columns: the picture; the annotation (outlines; the clean mask dashed in yellow); the prediction
    (probabilities as tint, outline at 0.5); the largest loss over the defects in nats, on one colour scale
    for the whole figure. Maps are shrunk by their maximum, so that a single bad pixel stays visible. Raises
    ValueError without entries, or for maps of another number of defects.
    """
    if not entries:
        raise ValueError("a gallery needs at least one entry")
    for entry in entries:
        if entry.annotation.shape[-1] != len(defects):
            raise ValueError(f"{entry.name}: {entry.annotation.shape[-1]} maps for {len(defects)} defects")
    norm = Normalize(0, max(_highest(entry.loss_map) for entry in entries) or 1.0)
    sizes = [cell_size(entry.image) for entry in entries]
    body_width, height = columns_width(sizes, len(COLUMNS)), rows_height(sizes, has_titles=True)
    keys = mask_keys(defects, any(entry.clean is not None for entry in entries))
    width = body_width + BAR
    figure, (body,) = framed_figure(width, [height], "Images with the highest scores", "", *keys)
    rows = [_row(entry, size, norm) for entry, size in zip(entries, sizes, strict=True)]
    titles = [entry.title(rank, body_width // 8) for rank, entry in enumerate(entries, 1)]
    draw_rows(body, rows, sizes, COLUMNS, titles)
    top, bar_height = HEAD + ROW_TITLE, min(height - HEAD - ROW_TITLE - GAP, 220)
    place = (body_width / width, 1 - (top + bar_height) / height, 11 / width, bar_height / height)
    bar = figure.colorbar(ScalarMappable(norm, "magma"), cax=body.add_axes(place))
    bar.set_label("pixel loss (nats)")
    return figure


def _row(entry: GalleryEntry, size: tuple[int, int], norm: Normalize) -> list[np.ndarray]:
    loss = np.asarray(colormaps["magma"](norm(fit_map(entry.loss_map.max(axis=-1), size))))
    return [
        fit_image(entry.image, size),
        annotation_picture(entry.image, entry.annotation, size, entry.clean),
        prediction_picture(entry.image, entry.prediction, size),
        (loss[..., :3] * 255).round().astype(np.uint8),
    ]


def _highest(values: np.ndarray) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.max()) if finite.size else 0.0
