"""Layouts that annotation tools export, written here as the tools do, and read."""

import base64
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from sbp.data.disk.listing import Listing
from sbp.data.disk.source import Reading, read_item
from sbp.data.layouts import LAYOUTS
from sbp.errors import UserError

H, W = 24, 40
SQUARE = [[4, 3], [12, 3], [12, 9], [4, 9]]
RED, GREEN, BORDER = (255, 0, 0), (0, 128, 0), (224, 224, 192)


def image(path: Path, pixels: np.ndarray | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((H, W), 90, np.uint8) if pixels is None else pixels
    if pixels.ndim == 3:
        pixels = pixels[:, :, ::-1]
    cv2.imencode(path.suffix, pixels)[1].tofile(path)
    return path


def zone(rows=slice(3, 9), columns=slice(4, 12)) -> np.ndarray:
    mask = np.zeros((H, W), bool)
    mask[rows, columns] = True
    return mask


def listed(root: Path, layout: str = "auto", defects=(), **keys) -> Listing:
    return LAYOUTS[layout](**keys).list(str(root), defects)


def mask_of(listing: Listing, name: str, defect: str) -> np.ndarray:
    (item,) = [item for item in listing.items if item.name == name]
    return read_item(item, listing.defects, Reading(H, W)).masks[:, :, listing.defects.index(defect)]


def void_of(listing: Listing, name: str) -> np.ndarray:
    (item,) = [item for item in listing.items if item.name == name]
    void = read_item(item, listing.defects, Reading(H, W)).void
    return np.zeros((H, W), bool) if void is None else void


def text(path: Path, content) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


# -- labelme


def test_links_are_read_as_the_files_that_they_lead_to(tmp_path):
    for name in ("a", "b"):
        labelme(tmp_path / "store", name, {})
        for path in (image(tmp_path / f"store/{name}.png"), tmp_path / f"store/{name}.json"):
            link = tmp_path / "set" / path.name
            link.parent.mkdir(exist_ok=True)
            link.symlink_to(path)
    listing = LAYOUTS["labelme"]().list(str(tmp_path / "set"))
    assert [(item.name, list(item.annotations)) for item in listing.items] == [
        ("a", ["scratch"]),
        ("b", ["scratch"]),
    ]


def labelme(root: Path, name: str, *shapes: dict, **changes) -> Path:
    content = {
        "version": "5.5.0",
        "flags": {},
        "shapes": [{"label": "scratch", "shape_type": "polygon", "points": SQUARE} | s for s in shapes],
        "imagePath": f"{Path(name).name}.png",
        "imageData": None,
        "imageHeight": H,
        "imageWidth": W,
    }
    return text(root / f"{name}.json", content | changes)


@pytest.fixture
def labelme_set(tmp_path) -> Path:
    for name in ("a", "side/b", "side/c", "d"):
        image(tmp_path / f"{name}.png")
    labelme(tmp_path, "a", {})
    part = np.full((3, 5), 255, np.uint8)
    png = base64.b64encode(cv2.imencode(".png", part)[1].tobytes()).decode()
    labelme(
        tmp_path,
        "side/b",
        {"label": "dent", "shape_type": "mask", "points": [[6, 2], [10, 4]], "mask": png},
        {"label": "dent", "shape_type": "circle", "points": [[25, 12], [30, 12]]},
        imagePath="..\\old folder\\b.png",
    )
    labelme(tmp_path, "d")  # looked at, nothing found
    text(tmp_path / "image_data.json", {"images": []})
    return tmp_path


def test_labelme_polygons_circles_and_masks(labelme_set):
    listing = listed(labelme_set)
    assert listing.about == "data=labelme data.defects=[dent,scratch]"
    assert [item.name for item in listing.items] == ["a", "d", "side/b", "side/c"]
    np.testing.assert_array_equal(mask_of(listing, "a", "scratch"), zone())
    dent = mask_of(listing, "side/b", "dent")
    np.testing.assert_array_equal(dent[:, :15], zone(slice(2, 5), slice(6, 11))[:, :15])
    assert dent[:, 15:].sum() == pytest.approx(np.pi * 25, rel=0.06)
    assert not mask_of(listing, "side/c", "dent").any()


def test_labelme_images_without_a_file_can_be_left_out(labelme_set):
    names = [item.name for item in listed(labelme_set, "labelme", unannotated="skip").items]
    assert names == ["a", "d", "side/b"]


def test_a_label_that_nobody_chose_and_one_that_is_not_there_are_named(labelme_set):
    with pytest.raises(
        UserError, match=r"label dent is not in data\.defects=\['scratch'\].*data\.ignore=\[dent\]"
    ):
        listed(labelme_set, "labelme", ["scratch"])
    with pytest.raises(UserError, match=r"has the labels dent, scratch \(did you mean dent\?\)"):
        listed(labelme_set, "labelme", ["scratch"], ignore=["dnet"])


def test_labels_that_are_not_learnt_take_their_images_along(labelme_set):
    listing = listed(labelme_set, ignore=["dent"])
    assert listing.defects == ("scratch",)
    assert [item.name for item in listing.items] == ["a", "d", "side/c"]


@pytest.mark.parametrize(
    ("shape", "changes", "message"),
    [
        ({"shape_type": "rectangle", "points": SQUARE[::2]}, {}, r"a\.json, shape 1: is a rectangle; boxes"),
        ({"shape_type": "linestrip"}, {}, r"shape 1: is a linestrip, which has no area"),
        ({"points": [[1, 2], [3]]}, {}, r"shape 1: points must be a list of \[x, y\]"),
        ({"points": SQUARE[:2]}, {}, r"a polygon needs x and y of three or more points"),
        ({"shape_type": "mask", "points": SQUARE[:2], "mask": "??"}, {}, r"must be a PNG image in base64"),
        ({"label": "scratched"}, {}, r"data\.defects=scratch: .* has the labels scratched \(did you mean"),
        ({"label": None}, {}, r"shape 1: has no label"),
        ({}, {"imagePath": "other.png"}, None),
        ({}, {"imageHeight": 9}, r"was drawn on an image of 9 x 40 pixels, the file has 24 x 40"),
    ],
)  # fmt: skip
def test_mistakes_in_a_labelme_file_are_named(tmp_path, shape, changes, message):
    image(tmp_path / "a.png")
    labelme(tmp_path, "a", shape, **changes)
    if message is None:  # the file itself is called as its image
        assert mask_of(listed(tmp_path, "labelme", ["scratch"]), "a", "scratch").any()
        return
    with pytest.raises(UserError, match=message):
        mask_of(listed(tmp_path, "labelme", ["scratch"]), "a", "scratch")


def test_a_labelme_file_without_its_image_is_named(tmp_path):
    image(tmp_path / "b.png")
    labelme(tmp_path, "a", {})
    with pytest.raises(UserError, match=r"a\.json: its image a\.png is not there"):
        listed(tmp_path, "labelme")


# -- YOLO


def yolo_line(number: int, points) -> str:
    return " ".join([str(number), *(f"{x / W} {y / H}" for x, y in points)])


@pytest.mark.parametrize("tree", ["images/{split}/{name}", "{split}/images/{name}"])
def test_yolo_in_both_trees_with_names_and_official_splits(tmp_path, tree):
    for split in ("train", "valid", "test"):
        image(tmp_path / tree.format(split=split, name=f"{split}_a.png"))
        image(tmp_path / tree.format(split=split, name=f"{split}_b.png"))
        label = tree.replace("images", "labels").format(split=split, name=f"{split}_a.txt")
        text(
            tmp_path / label,
            yolo_line(1, SQUARE) + "\n\n" + yolo_line(0, [[20, 10], [30, 10], [30, 20]]) + "\n",
        )
    text(tmp_path / "data.yaml", "train: ../train/images\nnc: 2\nnames: [dent, scratch]\n")
    listing = listed(tmp_path)
    assert listing.about == "data=yolo data.defects=[dent,scratch]"
    names = {item.name: item.split for item in listing.items}
    assert names[tree.format(split="valid", name="valid_a")] == "val"
    assert sorted(names.values()) == ["test"] * 2 + ["train"] * 2 + ["val"] * 2
    first = tree.format(split="train", name="train_a")
    np.testing.assert_array_equal(mask_of(listing, first, "scratch"), zone())
    assert mask_of(listing, first, "dent").sum() == pytest.approx(50, abs=6)
    assert not mask_of(listing, tree.format(split="train", name="train_b"), "dent").any()


def test_yolo_without_names_beside_the_images(tmp_path):
    for name in "ab":
        image(tmp_path / f"{name}.png")
    text(tmp_path / "a.txt", yolo_line(3, SQUARE))
    listing = listed(tmp_path)
    assert listing.defects == ("class3",)
    np.testing.assert_array_equal(mask_of(listing, "a", "class3"), zone())
    text(tmp_path / "classes.txt", "a\nb\nc\nscratch\n")
    assert listed(tmp_path).defects == ("a", "b", "c", "scratch")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0 0.5 0.5 0.2 0.2", r"labels/a\.txt, line 1: is a box; boxes alone cannot train a segmentation"),
        ("0 4 3 12 3 12 9", r"line 1: has the coordinate 12; they must be shares of width and height"),
        ("0 0.1 0.2 0.3 0.1 0.2 nan", r"line 1: has the coordinate"),
        ("0 0.1 0.2 0.3 0.4 0.1 0.2 0.3", r"line 1: must be a class and x and y of three or more points"),
        ("dent 0.1 0.2 0.3 0.4 0.1 0.2", r"line 1: must be 'class x y x y x y \.\.\.', not 'dent"),
        ("5 0.1 0.2 0.3 0.4 0.1 0.2", r"line 1: class 5 has no name"),
    ],
)
def test_mistakes_in_a_yolo_file_are_named(tmp_path, line, message):
    image(tmp_path / "images" / "a.png")
    text(tmp_path / "labels" / "a.txt", line)
    text(tmp_path / "data.yaml", "names:\n  0: scratch\n")
    with pytest.raises(UserError, match=message):
        listed(tmp_path, "yolo", ["scratch"])


def test_a_yolo_file_without_its_image_is_named(tmp_path):
    image(tmp_path / "images" / "a.png")
    text(tmp_path / "labels" / "b.txt", yolo_line(0, SQUARE))
    with pytest.raises(UserError, match=r"b\.txt: there is no image of that name"):
        listed(tmp_path, "yolo")


# -- Pascal VOC and CVAT


LABEL_MAP = "# label:color_rgb:parts:actions\nbackground:0,0,0::\ndent:0,128,0::\nscratch:255,0,0::\n"


def colour_mask(path: Path, *, palette: bool = False) -> Path:
    pixels = np.zeros((H, W, 3), np.uint8)
    pixels[zone()] = RED
    pixels[zone(slice(12, 16), slice(20, 30))] = GREEN
    pixels[zone(slice(18, 20), slice(0, 9))] = BORDER
    if not palette:
        return image(path, pixels)
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).convert("P", palette=Image.Palette.ADAPTIVE, colors=8).save(path)
    return path


@pytest.mark.parametrize("folder", ["JPEGImages", "images"])
@pytest.mark.parametrize("palette", [False, True])
def test_cvats_colour_masks_with_their_label_map_and_void(tmp_path, folder, palette):
    for name in "abc":
        image(tmp_path / folder / f"{name}.png")
    colour_mask(tmp_path / "SegmentationClass" / "a.png", palette=palette)
    text(tmp_path / "labelmap.txt", LABEL_MAP)
    text(tmp_path / "ImageSets" / "Segmentation" / "default.txt", "a\nb\n")
    listing = listed(tmp_path)
    assert listing.about == "data=voc data.defects=[dent,scratch]"
    assert [item.name for item in listing.items] == ["a", "b"]  # no list names c
    np.testing.assert_array_equal(mask_of(listing, "a", "scratch"), zone())
    np.testing.assert_array_equal(mask_of(listing, "a", "dent"), zone(slice(12, 16), slice(20, 30)))
    np.testing.assert_array_equal(void_of(listing, "a"), zone(slice(18, 20), slice(0, 9)))
    assert [item.name for item in listed(tmp_path, ignore=["dent"]).items] == ["b"]


def test_vocs_own_colours_and_lists(tmp_path):
    pixels = np.zeros((H, W, 3), np.uint8)
    pixels[zone()] = (192, 128, 128)  # person, in Pascal VOC's masks
    for name in "ab":
        image(tmp_path / "JPEGImages" / f"{name}.png")
        image(tmp_path / "SegmentationClass" / f"{name}.png", pixels)
    for split, name in (("train", "a"), ("val", "b")):
        text(tmp_path / "ImageSets" / "Segmentation" / f"{split}.txt", f"{name}\n")
    others = [name for name in LAYOUTS["voc"]().defects_in(tmp_path) if name != "person"]
    listing = listed(tmp_path, "voc", ["person"], ignore=others)
    np.testing.assert_array_equal(mask_of(listing, "a", "person"), zone())
    assert [item.split for item in listing.items] == ["train", "val"]


@pytest.mark.parametrize(
    ("label_map", "message"),
    [
        ("dent:0,128,0::\n", r"a\.png: has the colour #ff0000; known are #008000"),
        ("dent:0,128::\n", r"labelmap\.txt, line 1: must be 'name:red,green,blue::'"),
        ("dent:0,0,300::\n", r"labelmap\.txt, line 1: colours go from 0 to 255"),
        ("dent:0,128,0::\nrust:0,128,0::\n", r"line 2: rust has the colour of dent"),
    ],
)
def test_mistakes_in_a_label_map_are_named(tmp_path, label_map, message):
    image(tmp_path / "images" / "a.png")
    colour_mask(tmp_path / "SegmentationClass" / "a.png")
    text(tmp_path / "labelmap.txt", label_map)
    with pytest.raises(UserError, match=message):
        mask_of(listed(tmp_path), "a", "dent")


# -- masks


def test_masks_with_a_suffix_and_images_in_subfolders(tmp_path):
    for name in ("a", "side/a", "side/b"):
        image(tmp_path / "images" / f"{name}.png")
    image(tmp_path / "masks" / "scratch" / "side" / "a_mask.png", zone() * np.uint8(255))
    listing = listed(tmp_path)
    assert listing.about == "data=masks data.suffix=_mask data.defects=[scratch]"
    assert [item.name for item in listing.items] == ["a", "side/a", "side/b"]
    np.testing.assert_array_equal(mask_of(listing, "side/a", "scratch"), zone())
    with pytest.raises(UserError, match=r"a_mask\.png: there is no image of that name.*data\.suffix=_mask\?"):
        listed(tmp_path, "masks")


@pytest.mark.parametrize(("value", "found"), [(255, 255), (1, 1)])
def test_one_mask_per_image_with_one_value_is_one_defect(tmp_path, value, found):
    for name in "ab":
        image(tmp_path / "images" / f"{name}.png")
    image(tmp_path / "masks" / "a.png", zone() * np.uint8(value))
    listing = listed(tmp_path)
    assert listing.about == f"data=masks data.values={{'defect': {found}}} data.defects=[defect]"
    np.testing.assert_array_equal(mask_of(listing, "a", "defect"), zone())


def test_what_several_values_or_colours_mean_is_asked(tmp_path):
    image(tmp_path / "images" / "a.png")
    image(tmp_path / "masks" / "a.png", zone() * np.uint8(2) + zone(slice(12, 14)))
    with pytest.raises(
        UserError, match=r"masks hold the values 1, 2: say what they mean, data=masks data.values="
    ):
        listed(tmp_path)
    colour_mask(tmp_path / "masks" / "a.png")
    with pytest.raises(UserError, match=r"a\.png: is a colour mask \(#008000, #e0e0c0, #ff0000\): say what"):
        listed(tmp_path)


def test_colours_of_own_masks_with_void(tmp_path):
    for name in "ab":
        image(tmp_path / "images" / f"{name}.png")
    colour_mask(tmp_path / "masks" / "a.png")
    colours = {"scratch": "#ff0000", "dent": "008000"}
    listing = listed(tmp_path, "masks", colours=colours, void="#e0e0c0")
    np.testing.assert_array_equal(mask_of(listing, "a", "scratch"), zone())
    np.testing.assert_array_equal(void_of(listing, "a"), zone(slice(18, 20), slice(0, 9)))
    with pytest.raises(
        UserError, match=r"a\.png: has the colour #e0e0c0; known are #000000, #ff0000, #008000"
    ):
        mask_of(listed(tmp_path, "masks", colours=colours), "a", "dent")
    with pytest.raises(ValueError, match=r"colours.dent=green: must be a colour as '#ff0000'"):
        LAYOUTS["masks"](colours={"dent": "green"})


def test_void_values_of_index_masks_count_neither_way(tmp_path):
    image(tmp_path / "images" / "a.png")
    pixels = zone() * np.uint8(1)
    pixels[20:22] = 255
    image(tmp_path / "masks" / "a.png", pixels)
    with pytest.raises(
        UserError, match=r"has the value 255; data\.values knows 1, and 0 for none; data\.void"
    ):
        mask_of(listed(tmp_path, "masks", values={"dent": 1}), "a", "dent")
    listing = listed(tmp_path, "masks", values={"dent": 1}, void=255)
    np.testing.assert_array_equal(mask_of(listing, "a", "dent"), zone())
    np.testing.assert_array_equal(void_of(listing, "a"), zone(slice(20, 22), slice(None)))


# -- COCO as tools write it


def coco(names, **changes) -> dict:
    polygon = [value for point in SQUARE for value in point]
    content = {
        "images": [{"id": k, "file_name": name, "height": H, "width": W} for k, name in enumerate(names)],
        "categories": [
            {"id": 0, "name": "defects"},
            {"id": 1, "name": "scratch", "supercategory": "defects"},
        ],
        "annotations": [{"id": 1, "image_id": 0, "category_id": 1, "segmentation": [polygon]}],
    }
    return content | changes


def test_roboflows_folder_per_split(tmp_path):
    for split in ("train", "valid", "test"):
        image(tmp_path / split / "a.png")
        image(tmp_path / split / "b.png")
        text(tmp_path / split / "_annotations.coco.json", coco(["a.png", "b.png"]))
    listing = listed(tmp_path)
    # the category that nothing is annotated with is none
    assert listing.about == "data=coco data.defects=[scratch]"
    assert {item.name: item.split for item in listing.items} == {
        f"{folder}/{name}.png": split
        for folder, split in (("train", "train"), ("valid", "val"), ("test", "test"))
        for name in "ab"
    }
    np.testing.assert_array_equal(mask_of(listing, "valid/a.png", "scratch"), zone())


@pytest.mark.parametrize(
    "named",
    ["images/a.png", "images\\a.png", "a.png", "D:\\data\\upload\\1\\a.png", "/data/local-files/?d=x/a.png"],
)
def test_label_studios_names_are_found_where_they_are_clear(tmp_path, named):
    image(tmp_path / "images" / "a.png")
    text(tmp_path / "result.json", coco([named]))
    (item,) = listed(tmp_path).items
    assert item.image == tmp_path / "images" / "a.png"


def test_a_name_that_may_be_two_files_is_asked_for(tmp_path):
    image(tmp_path / "images" / "one" / "a.png")
    image(tmp_path / "images" / "two" / "a.png")
    text(tmp_path / "result.json", coco(["C:\\x\\a.png"]))
    with pytest.raises(
        UserError, match=r"may be images/one/a\.png and images/two/a\.png; file_name must say which"
    ):
        listed(tmp_path)


def test_ids_of_coco_may_be_texts_and_numbers(tmp_path):
    image(tmp_path / "images" / "a.png")
    content = coco(["a.png"])
    content["images"][0]["id"] = "7"
    content["annotations"][0] |= {"image_id": 7, "category_id": 1.0}
    text(tmp_path / "annotations.json", content)
    np.testing.assert_array_equal(mask_of(listed(tmp_path), "a.png", "scratch"), zone())


# -- auto


def test_auto_says_what_it_does_not_know_or_cannot_decide(tmp_path):
    with pytest.raises(UserError, match=r"no known layout, it holds nothing; see docs/own_images\.md"):
        listed(tmp_path)
    image(tmp_path / "a.png")
    with pytest.raises(UserError, match=r"no known layout, it holds a\.png"):
        listed(tmp_path)
    labelme(tmp_path, "a", {})
    text(tmp_path / "a.txt", yolo_line(0, SQUARE))
    with pytest.raises(UserError, match=r"looks like data=labelme and data=yolo; choose one"):
        listed(tmp_path)


def test_one_level_too_high_the_folder_is_named(labelme_set):
    inner = labelme_set / "outer" / "inner"
    for name in "ab":
        image(inner / "images" / f"{name}.png")
    image(inner / "masks" / "dent" / "a.png", zone() * np.uint8(255))
    with pytest.raises(UserError, match=r"no known layout, .*; did you mean data\.root=.*inner\?"):
        listed(labelme_set / "outer")


def test_yolo_says_what_is_likely_a_mistake(tmp_path, caplog):
    for split in ("train", "valid"):
        image(tmp_path / split / "images" / f"{split}.png")
    text(tmp_path / "train" / "labels" / "train.txt", yolo_line(0, SQUARE))
    with caplog.at_level("WARNING", logger="sbp"):
        listed(tmp_path)
    assert "has no data.yaml or classes.txt" in caplog.text
    assert "valid/images: none of its images has a label file" in caplog.text
