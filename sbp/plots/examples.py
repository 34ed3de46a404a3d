"""A strip of images, each with its annotation, what each run predicts on it, and what was said of that."""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from matplotlib.figure import SubFigure

from sbp.plots.pictures import (
    GAP,
    annotation_picture,
    cell_size,
    draw_rows,
    fit_image,
    mask_keys,
    prediction_picture,
    rows_height,
)
from sbp.plots.style import FAINT_TEXT, MARGIN, WIDTH, add_legend, shorten

DENSE = 2
"""Pixels of a picture per pixel of the figure: crisp in files of scale 2."""
HEAD, LINE = 34, 16
"""Pixels of the strip's name and legend, and of each line of notes below them."""
CHARACTERS = 150
"""Of a line of notes."""


@dataclass(frozen=True)
class Example:
    """One image with what each run makes of it.

    image: (H, W, C) uint8; annotation: (H, W, D), 0 or 1; predictions: by label of every run, (H, W, D)
    probabilities; clean: as annotation, the true mask where it is known. about: what the image shows; name:
    the image's. By label, where the predictions were judged: regions, (H, W, D) bool, the predicted regions
    that were; verdicts, a few words.
    """

    image: np.ndarray
    annotation: np.ndarray
    predictions: Mapping[str, np.ndarray]
    clean: np.ndarray | None = None
    about: str = ""
    name: str = ""
    regions: Mapping[str, np.ndarray] = field(default_factory=dict)
    verdicts: Mapping[str, str] = field(default_factory=dict)


def examples_heights(
    examples: Sequence[Example], num_labels: int, notes: Sequence[str] = ()
) -> tuple[int, int]:
    """Pixels that `draw_examples` needs for the head and for the rows of pictures, at WIDTH."""
    rows = rows_height(_sizes(examples, num_labels), bool(_titles(examples)), _judged(examples))
    return HEAD + LINE * len(_lines(notes)), rows


def draw_examples(
    head: SubFigure,
    body: SubFigure,
    examples: Sequence[Example],
    labels: Sequence[str],
    defects: Sequence[str],
    notes: Sequence[str] = (),
) -> None:
    """A row per example: image, annotation (the clean mask dashed in yellow), the prediction of each label.

    Above a row stands what its image is, below each prediction its verdict; notes: paragraphs in the head.
    """
    _draw_head(head, defects, any(example.clean is not None for example in examples), notes)
    sizes = _sizes(examples, len(labels))
    rows = [_row(example, labels, size) for example, size in zip(examples, sizes, strict=True)]
    captions = [["", "", *(example.verdicts.get(label, "") for label in labels)] for example in examples]
    captions = captions if _judged(examples) else []
    draw_rows(body, rows, sizes, ["image", "annotation", *labels], _titles(examples), captions)


def _draw_head(figure: SubFigure, defects: Sequence[str], has_clean: bool, notes: Sequence[str]) -> None:
    lines = _lines(notes)
    left, height = MARGIN / WIDTH, HEAD + LINE * len(lines)
    middle = 1 - HEAD / 2 / height
    figure.text(left, middle, "Examples", va="center", fontsize=10, fontweight="bold")
    legend = add_legend(figure, *mask_keys(defects, has_clean), "center")
    legend.set_bbox_to_anchor((0.5, middle), transform=figure.transSubfigure)
    for number, line in enumerate(lines):
        y = 1 - (HEAD + LINE * (number + 0.5)) / height
        figure.text(left, y, line, va="center", color=FAINT_TEXT)


def _lines(notes: Sequence[str]) -> list[str]:
    return [line for note in notes for line in textwrap.wrap(note, CHARACTERS)]


def _sizes(examples: Sequence[Example], num_labels: int) -> list[tuple[int, int]]:
    """(width, height) of the cells of each row: image, annotation and the labels fill WIDTH."""
    side = (WIDTH - 2 * MARGIN + GAP) // (2 + num_labels) - GAP
    return [cell_size(example.image, side**2, side) for example in examples]


def _titles(examples: Sequence[Example]) -> list[tuple[str, str]]:
    named = any(example.about or example.name for example in examples)
    return [(shorten(e.about, 90), shorten(e.name, 60, keep_end=True)) for e in examples] if named else []


def _judged(examples: Sequence[Example]) -> bool:
    return any(example.verdicts for example in examples)


def _row(example: Example, labels: Sequence[str], size: tuple[int, int]) -> list[np.ndarray]:
    image, dense = example.image, (DENSE * size[0], DENSE * size[1])
    row = [
        fit_image(image, dense),
        annotation_picture(image, example.annotation, dense, example.clean, DENSE),
    ]
    for label in labels:
        regions = example.regions.get(label)
        row.append(prediction_picture(image, example.predictions[label], dense, DENSE, regions))
    return row
