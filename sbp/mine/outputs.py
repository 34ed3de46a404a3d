"""What mining leaves: the ranking, the sheet, the folder of chosen images."""

import csv
import io
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
import torch

from sbp.config import Config
from sbp.data.disk.resize import Resizer
from sbp.mine.choose import NOTHING, Choice, strata_of
from sbp.mine.reading import read_seen
from sbp.mine.scores import HIGHEST, Believer
from sbp.plots.contact_sheet import contact_sheet
from sbp.plots.style import save_png
from sbp.utils.files import write_atomically

SHOWN = 64
"""Images on the sheet at most."""
SIDE_SHOWN = 256
"""Pixels of their longer side there at most."""


@dataclass(frozen=True)
class Mined:
    """What was found. images: relative to the folder, all that could be read; scores: (N,) by the rule;
    order: (N,) numbers of images, the first to annotate first; choice: within the budget; expected: (N,)
    defects in each. errors: what could not be read. table, sheet, folder: what was written."""

    images: list[PurePosixPath]
    scores: np.ndarray
    order: np.ndarray
    choice: Choice
    expected: np.ndarray
    errors: list[str]
    table: Path
    sheet: Path
    folder: Path


class Columns:
    """The record's columns, by name."""

    def __init__(self, values: dict[str, np.ndarray], defects: Sequence[str]):
        self.values, self.defects = values, defects

    def stacked(self, name: str) -> np.ndarray:
        """(N, D) of each defect."""
        return np.stack([self.values[f"{name}/{defect}"] for defect in self.defects], axis=1)


def write_ranking(mined: Mined, of: Columns) -> None:
    """A row for each image that could be read, the first to annotate first. of: the record's columns."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["rank", "image", "chosen", "score", "expected_defects", "surest_defect", "looks_like"])
    strata, chosen = strata_of(of.stacked(HIGHEST)), set(mined.choice.chosen)
    for rank, number in enumerate(mined.order.tolist(), 1):
        sure = "" if strata[number] == NOTHING else of.defects[strata[number]]
        twin = mined.choice.duplicate_of.get(number)
        writer.writerow(
            [
                rank,
                mined.images[number],
                "yes" if number in chosen else "",
                f"{mined.scores[number]:.5g}",
                f"{mined.expected[number]:.3g}",
                sure,
                "" if twin is None else mined.images[twin],
            ]
        )
    write_atomically(mined.table, text.getvalue().encode("utf-8", "surrogateescape"))


def write_sheet(
    mined: Mined, folder: Path, believer: Believer, config: Config, defects: Sequence[str]
) -> None:
    """The first of the chosen images with what the model sees in them."""
    shown, masks, titles = [], [], []
    for number in mined.choice.chosen[:SHOWN]:
        read = read_seen(folder, mined.images[number], config)
        if read.pixels is None:
            continue
        p, _ = believer(torch.from_numpy(read.pixels[None]), [str(read.image)])
        seen = (p[0].permute(1, 2, 0).cpu().numpy() >= 0.5).astype(np.uint8)
        height, width = read.pixels.shape[:2]
        factor = min(1.0, SIDE_SHOWN / max(height, width))
        resizer = Resizer(max(1, round(height * factor)), max(1, round(width * factor)), "resize")
        shown.append(resizer.image(read.pixels))
        masks.append(resizer.masks(seen.astype(bool)))
        titles.append(read.image.stem)
    if shown:
        height, width = (max(image.shape[axis] for image in shown) for axis in (0, 1))
        pairs = [
            (_padded(a, height, width), _padded(m, height, width)) for a, m in zip(shown, masks, strict=True)
        ]
        images, masks = (list(arrays) for arrays in zip(*pairs, strict=True))
        sheet = contact_sheet(images, masks, titles, defects, 8, max(1, 128 // max(height, width)))
        save_png(sheet, mined.sheet)


def _padded(array: np.ndarray, height: int, width: int) -> np.ndarray:
    border = (0, height - array.shape[0], 0, width - array.shape[1])
    return cv2.copyMakeBorder(array, *border, cv2.BORDER_CONSTANT, value=0).reshape(height, width, -1)


def write_chosen(mined: Mined, folder: Path, copy: bool) -> None:
    """Links to the chosen images, or copies, under their own names below chosen/; what lay there goes."""
    shutil.rmtree(mined.folder, ignore_errors=True)
    for number in mined.choice.chosen:
        source, target = (folder / mined.images[number]).resolve(), mined.folder / mined.images[number]
        target.parent.mkdir(parents=True, exist_ok=True)
        if copy:
            shutil.copyfile(source, target)
        else:
            target.symlink_to(source)
    text = "".join(f"{mined.images[number]}\n" for number in mined.choice.chosen)
    mined.folder.mkdir(parents=True, exist_ok=True)
    write_atomically(mined.folder / "list.csv", ("image\n" + text).encode("utf-8", "surrogateescape"))
