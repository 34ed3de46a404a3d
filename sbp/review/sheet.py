"""The suspects as one HTML page to look through, which needs nothing else."""

import base64
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from matplotlib import colormaps

from sbp.data.dataset import Split
from sbp.plots.pictures import annotation_picture, cell_size, fit_image, fit_map, prediction_picture
from sbp.plots.style import defect_colour
from sbp.review.suspects import CONTRADICTION, KINDS, WRONG_DEFECT, Suspect
from sbp.utils.files import write_atomically

AROUND = 2.5
"""Sides of what a picture shows, in sides of the box."""
LEAST = 96
"""Pixels that it shows at least, where the image has them."""
HIGHEST_LOSS = 5.0
"""In nats, the brightest colour: the model gives the annotation's label a probability of 0.7 %."""


@dataclass(frozen=True)
class SheetEntry:
    """One suspect as it is shown. pictures: titles with data URLs."""

    name: str
    what: str
    score: float
    note: str
    pictures: list[tuple[str, str]]


def sheet_entry(
    suspect: Suspect,
    split: Split,
    probabilities: np.ndarray,
    defects: Sequence[str],
    note: str = "",
) -> SheetEntry:
    """Image, annotation, prediction and loss around the suspect. probabilities: (H, W, D) of the image."""
    image, masks = np.asarray(split.images[suspect.image]), np.asarray(split.masks[suspect.image])
    part = shown_part(suspect.box, (image.shape[0], image.shape[1]))
    image, masks, probabilities = (np.ascontiguousarray(a[part]) for a in (image, masks, probabilities))
    size = cell_size(image)
    pictures = [
        ("image", fit_image(image, size)),
        ("annotation", annotation_picture(image, masks, size)),
        ("prediction", prediction_picture(image, probabilities, size)),
        ("loss", loss_picture(probabilities, masks, size)),
    ]
    what = f"{suspect.kind}: {defects[suspect.defect]}"
    if suspect.kind == WRONG_DEFECT and suspect.annotated is not None:
        what = f"annotated as {defects[suspect.annotated]}, perhaps {defects[suspect.defect]}"
    if suspect.kind == CONTRADICTION and suspect.other is not None:
        note = ". ".join(t for t in (f"{split.names[suspect.other]} shows the same and has it", note) if t)
    urls = [(title, data_url(picture)) for title, picture in pictures]
    return SheetEntry(split.names[suspect.image], what, suspect.score, note, urls)


def shown_part(box: tuple[int, int, int, int], shape: tuple[int, int]) -> tuple[slice, slice]:
    """Rows and columns around a box, in an image of `shape`: a square where there is room for one."""
    left, top, width, height = box
    side = round(max(AROUND * max(width, height), LEAST))
    parts = []
    for start, length, full in ((top, height, shape[0]), (left, width, shape[1])):
        wanted = min(side, full)
        first = int(np.clip(start + length // 2 - wanted // 2, 0, full - wanted))
        parts.append(slice(first, first + wanted))
    return parts[0], parts[1]


def loss_picture(probabilities: np.ndarray, masks: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(height, width, 3) uint8: cross-entropy of each pixel in nats, the largest over the defects; 0 where
    nobody says what there is."""
    p = np.clip(probabilities, 1e-4, 1 - 1e-4)
    loss = np.where(masks > 1, 0.0, -np.log(np.where(masks == 1, p, 1 - p))).max(axis=2)
    shown = fit_map(loss.astype(np.float32), size) / HIGHEST_LOSS
    return (np.asarray(colormaps["magma"](np.clip(shown, 0, 1)))[..., :3] * 255).round().astype(np.uint8)


def data_url(picture: np.ndarray) -> str:
    """A picture (H, W, 3) uint8 RGB for an HTML page."""
    png = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1].tobytes()
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def write_sheet(
    path: Path, about: str, suspects: Sequence[Suspect], entries: Sequence[SheetEntry], defects: Sequence[str]
) -> None:
    """Write the page atomically. about: a sentence on what was reviewed. entries: of the first suspects; the
    page counts all of them."""
    counts = Counter((suspect.kind, suspect.defect) for suspect in suspects)
    kinds = [kind for kind in KINDS if any(suspect.kind == kind for suspect in suspects)]
    environment = Environment(
        loader=PackageLoader("sbp.review"), autoescape=select_autoescape(["html"]), undefined=StrictUndefined
    )
    page = environment.get_template("sheet.html").render(
        about=about,
        defects=defects,
        colours=[defect_colour(d) for d in range(len(defects))],
        table=[(kind, [counts[kind, d] for d in range(len(defects))]) for kind in kinds],
        entries=entries,
        left=len(suspects) - len(entries),
    )
    write_atomically(path, page)
