"""Two published sets in the layouts of tools, where environment variables name their folders.

SBP_KOLEKTOR_SDD: KolektorSDD with YOLO segmentation labels, 399 images, 52 with a defect. SBP_BSDATA: BSData
with labelme's files, 1,104 images, 394 with polygons.
"""

import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from sbp.data.convert import convert
from sbp.data.disk.source import ListedSource, Reading, Splitting, read_item
from sbp.data.layouts import LAYOUTS
from tests.conftest import make_config

KOLEKTOR, BSDATA = os.environ.get("SBP_KOLEKTOR_SDD"), os.environ.get("SBP_BSDATA")
needs_kolektor = pytest.mark.skipif(not KOLEKTOR, reason="SBP_KOLEKTOR_SDD names no folder")
needs_bsdata = pytest.mark.skipif(not BSDATA, reason="SBP_BSDATA names no folder")
FINE = 8


def filled(outlines: list[np.ndarray], height: int, width: int) -> np.ndarray:
    """OpenCV's fill at eight times the resolution, of x and y in pixels: those covered by half, or most."""
    drawn = np.zeros((height, width), bool)
    for points in outlines:
        fine = np.zeros((height * FINE, width * FINE), np.uint8)
        cv2.fillPoly(fine, [np.round((points * FINE - 0.5) * 16).astype(np.int32)], 1, shift=4)
        share = cv2.resize(fine.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
        drawn |= share >= min(0.5, share.max())
    return drawn


def expect_equal(layout: str, root: str, outlines_of, step: int) -> tuple[int, int]:
    """Compare every `step`-th annotated image; returns how many images there are, and annotated ones."""
    listing = LAYOUTS[layout]().list(root)
    held = [item for item in listing.items if item.annotations]
    for item in held[::step]:
        image, masks, _ = read_item(item, listing.defects, Reading(8, 8))
        expected = filled(outlines_of(item, image.shape), *image.shape[:2])
        np.testing.assert_array_equal(masks[:, :, 0], expected, err_msg=item.name)
    return len(listing.items), len(held)


@needs_kolektor
def test_kolektors_yolo_labels_are_an_independent_fill():
    def outlines(item, shape) -> list[np.ndarray]:
        file = Path(str(item.image).replace("/images/", "/labels/")).with_suffix(".txt")
        rows = [np.array(line.split()[1:], float).reshape(-1, 2) for line in file.read_text().splitlines()]
        return [row * [shape[1], shape[0]] for row in rows if len(row)]

    assert expect_equal("yolo", KOLEKTOR, outlines, 1) == (399, 52)


@needs_bsdata
def test_bsdatas_labelme_files_are_an_independent_fill():
    def outlines(item, shape) -> list[np.ndarray]:
        shapes = json.loads(item.image.with_suffix(".json").read_text())["shapes"]
        return [np.array(one["points"]) for one in shapes]

    assert expect_equal("labelme", BSDATA, outlines, 4) == (1104, 394)


@needs_kolektor
def test_kolektor_becomes_labelme_and_stays_the_same(tmp_path):
    def source(layout: str, root, **keys) -> ListedSource:
        listing = LAYOUTS[layout](**keys).list(str(root))
        fractions = {"train": 0.6, "val": 0.2, "test": 0.2}
        return ListedSource("set", listing, Reading(8, 8), Splitting(fractions))

    first = source("yolo", KOLEKTOR)
    convert(first, "labelme", tmp_path / "out", lambda done, total: None)
    second = {item.name: item for item in source("labelme", tmp_path / "out").listing.items}
    assert len(second) == 399
    for item in first.listing.items:
        if item.annotations:
            before, after = (read_item(i, ["class0"], Reading(8, 8)).masks for i in (item, second[item.name]))
            np.testing.assert_array_equal(before, after)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("root", "overrides"),
    [
        pytest.param(KOLEKTOR, ["data.official_splits=false", "data.group_size=8"], marks=needs_kolektor),
        pytest.param(BSDATA, [r"data.group='\d{6}_\d{3}_crop_\d|KGT'"], marks=needs_bsdata),
    ],
)
def test_both_train_from_their_folder_alone(tmp_path, root, overrides):
    from sbp.build import trainer as build
    from sbp.build.data import open_cached
    from sbp.seeding import seed_everything
    from sbp.utils.progress import Progress

    words = [f"data.root={root}", "data=auto", "scale=smoke", f"output_root={tmp_path}", "budget.compute=2"]
    config = make_config(*words, *overrides)
    seed_everything(0)
    model = build.build_model(config, len(config.data.defects))
    records = list(build.build_trainer(config, model, open_cached(config), Progress()).epochs())
    assert np.isfinite([record.metrics["train/loss"] for record in records]).all()
    assert np.isfinite(records[-1].metrics["val/map"])
