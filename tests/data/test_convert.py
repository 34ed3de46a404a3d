"""Any layout to masks, COCO and labelme, and back: the same masks, splits and groups."""

import base64
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from sbp.data.convert import TARGETS, convert
from sbp.data.convert.outlines import outlines_of
from sbp.data.disk.annotations import Polygons
from sbp.data.disk.source import ListedSource, Reading, Splitting, read_item
from sbp.data.layouts import LAYOUTS
from sbp.errors import UserError
from tests.data.test_formats import image

FRACTIONS = {"train": 0.6, "val": 0.2, "test": 0.2}
H, W = 33, 47


def quiet(done: int, total: int) -> None:
    pass


def source(
    layout: str, root: Path, defects=(), split_file: Path | None = None, void=None, **keys
) -> ListedSource:
    if void is not None:
        keys["void"] = void
    listing = LAYOUTS[layout](**keys).list(str(root), defects)
    return ListedSource(
        "set", listing, Reading(H, W, exif=listing.exif), Splitting(FRACTIONS, 0, file=split_file)
    )


def contents(of: ListedSource) -> dict[str, tuple]:
    """By name without suffix: the image as it is read, its masks, what does not count, its split."""
    found = {}
    for item, split in zip(of.listing.items, of.splits_of, strict=True):
        read = read_item(item, of.defects, of.reading)
        void = np.zeros(read.masks.shape[:2], bool) if read.void is None else read.void
        found[Path(item.name).with_suffix("").as_posix()] = (
            read.image,
            read.masks,
            void & ~read.masks.any(2),
            split,
        )
    return found


def expect_same(a: ListedSource, b: ListedSource) -> None:
    first, second = contents(a), contents(b)
    assert a.defects == b.defects
    assert first.keys() == second.keys()
    for name, parts in first.items():
        for one, other in zip(parts, second[name], strict=True):
            np.testing.assert_array_equal(one, other, err_msg=name)


@pytest.fixture
def masks_set(tmp_path) -> Path:
    """Images, some in a folder, with zones of every kind: with holes, one pixel wide, at the border, none."""
    rng, root = np.random.default_rng(0), tmp_path / "set"
    for k in range(12):
        name = f"{'side/' if k % 3 else ''}part{k}"
        image(root / "images" / f"{name}.png", rng.integers(0, 255, (H, W), dtype=np.uint8))
        for d, defect in enumerate(("scratch", "dent")):
            mask = rng.random((H, W)) < (0.05, 0.6)[d] if k % 2 else np.zeros((H, W), bool)
            if k % 4 == 1:
                mask = cv2.GaussianBlur(rng.random((H, W)).astype(np.float32), (0, 0), 3) > 0.5
            image(root / "masks" / defect / f"{name}.png", mask * np.uint8(255))
    return root


@pytest.mark.parametrize("through", [["coco"], ["labelme"], ["masks"], ["coco", "labelme", "masks"]])
def test_there_and_back_again_nothing_changes(masks_set, tmp_path, through):
    first = before = source("masks", masks_set)
    for number, target in enumerate(through):
        out = tmp_path / f"{number}_{target}"
        convert(before, target, out, quiet)
        before = source(target, out, first.defects, out / "split.csv")
        expect_same(first, before)
    convert(before, "masks", tmp_path / "back", quiet)
    expect_same(first, source("masks", tmp_path / "back", first.defects, tmp_path / "back" / "split.csv"))


def test_polygons_stay_the_polygons_that_somebody_drew(tmp_path):
    outline = [[3.25, 2.5], [20.125, 4.0], [18.0, 19.75]]
    for k in range(4):
        image(tmp_path / "set" / f"{k}.png", np.full((H, W), 60, np.uint8))
        shapes = [{"label": "dent", "shape_type": "polygon", "points": outline}]
        about = {"imagePath": f"{k}.png", "shapes": shapes, "imageHeight": H, "imageWidth": W}
        (tmp_path / "set" / f"{k}.json").write_text(json.dumps(about))
    convert(source("labelme", tmp_path / "set"), "coco", tmp_path / "coco", quiet)
    content = json.loads((tmp_path / "coco" / "annotations.json").read_text())
    assert content["annotations"][0]["segmentation"] == [[value for point in outline for value in point]]
    assert content["images"][0] == {"id": 1, "file_name": "0.png", "height": H, "width": W}
    convert(source("coco", tmp_path / "coco"), "labelme", tmp_path / "back", quiet)
    assert json.loads((tmp_path / "back" / "0.json").read_text())["shapes"][0]["points"] == outline


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_rotated_images_keep_their_masks_where_they_were(tmp_path, target, orientation):
    rng, root = np.random.default_rng(1), tmp_path / "set"
    for k in range(4):
        pixels = Image.fromarray(rng.integers(0, 255, (H, W), dtype=np.uint8))
        exif = pixels.getexif()
        exif[0x0112] = orientation
        (root / "images").mkdir(parents=True, exist_ok=True)
        pixels.save(root / "images" / f"{k}.png", exif=exif)
        image(root / "masks" / "dent" / f"{k}.png", (rng.random((H, W)) < 0.3) * np.uint8(255))
    first = source("masks", root)
    convert(first, target, tmp_path / "out", quiet)
    second = source(target, tmp_path / "out", ["dent"])
    for name, (stored, masks, *_) in contents(first).items():
        shown, there, *_ = contents(second)[name]
        # both are in the order of a mark per pixel: the pixels under the mask are the same
        assert sorted(stored[masks[:, :, 0]].ravel()) == sorted(shown[there[:, :, 0]].ravel())


def test_what_does_not_count_goes_to_masks_and_nowhere_else(tmp_path):
    root = tmp_path / "set"
    for k in range(4):
        image(root / "images" / f"{k}.png", np.full((H, W), 9, np.uint8))
        pixels = np.zeros((H, W), np.uint8)
        pixels[3:6, 3:9], pixels[20:] = 1, 255
        image(root / "masks" / f"{k}.png", pixels)
    first = source("masks", root, values={"dent": 1}, void=255)
    words = convert(first, "masks", tmp_path / "masks", quiet)
    assert "data.void=128" in words
    expect_same(
        first, source("masks", tmp_path / "masks", ["dent"], tmp_path / "masks" / "split.csv", void=128)
    )
    with pytest.raises(UserError, match=r"0\.png: has pixels that do not count .* only masks can hold"):
        convert(first, "coco", tmp_path / "coco", quiet)


def test_a_folder_that_holds_something_is_left_alone(masks_set, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").touch()
    for folder, reason in (("full", "holds something already"), ("full/notes.txt", "is a file")):
        with pytest.raises(UserError, match=reason):
            convert(source("masks", masks_set), "coco", tmp_path / folder, quiet)
    with pytest.raises(UserError, match="lies in the data set itself"):
        convert(source("masks", masks_set), "coco", masks_set / "new", quiet)


def test_the_split_that_lies_with_the_images_is_used(masks_set, tmp_path):
    from sbp.build.data import build_source
    from tests.conftest import make_config

    first = source("masks", masks_set)
    convert(first, "coco", tmp_path / "out", quiet)
    config = make_config(
        "data=auto", f"data.root={tmp_path / 'out'}", "data.seed=9", f"output_root={tmp_path}"
    )
    found = build_source(config.data, tmp_path)
    assert [Path(i.name).with_suffix("").as_posix() for i in found.listing.items] == [
        i.name for i in first.listing.items
    ]
    assert found.splits_of == first.splits_of


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.data())
def test_outlines_of_any_mask_draw_it_again(height, width, data):
    bits = data.draw(st.lists(st.booleans(), min_size=height * width, max_size=height * width))
    mask = np.array(bits).reshape(height, width)
    outlines = tuple(tuple(points.ravel().tolist()) for points in outlines_of(mask))
    np.testing.assert_array_equal(Polygons(outlines, "").mask(mask.shape), mask)


def test_masks_in_memory_are_what_labelme_would_open():
    from sbp.data.convert.writers import LabelmeWriter
    from sbp.data.convert.zones import Zones

    mask = np.zeros((H, W), bool)
    mask[4:9, 5:20] = True
    writer = LabelmeWriter(Path("/nowhere"), ["dent"])
    assert writer.name("side/a.png") == "side/a"
    from sbp.data.convert import writers

    (shape,) = writers._shapes("dent", Zones(mask, None))
    assert shape["points"] == [[5, 4], [19, 8]]
    png = cv2.imdecode(np.frombuffer(base64.b64decode(shape["mask"]), np.uint8), cv2.IMREAD_UNCHANGED)
    assert png.shape == (5, 15)
    assert (png == 255).all()
