"""Own images and the public sets, on a few images written in exactly their layouts."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from sbp.data.disk.annotations import Polygons
from sbp.data.disk.listing import Item, Listing
from sbp.data.disk.source import Reading, read_item
from sbp.data.layouts import LAYOUTS
from sbp.errors import UserError

H, W = 12, 20


def write(path: Path, pixels: np.ndarray | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = np.full((H, W), 90, np.uint8) if pixels is None else pixels
    cv2.imencode(path.suffix.lower(), image)[1].tofile(path)
    return path


def mask(rows=slice(2, 5), columns=slice(3, 8), value=255) -> np.ndarray:
    pixels = np.zeros((H, W), np.uint8)
    pixels[rows, columns] = value
    return pixels


def listed(layout: str, root: Path | None, defects: list[str], **keys) -> Listing:
    """The set as its option of the config group `data` lists it."""
    return LAYOUTS[layout](**keys).list(None if root is None else str(root), defects)


def read(listing: Listing, name: str) -> tuple[np.ndarray, np.ndarray]:
    (item,) = [item for item in listing.items if item.name == name]
    return read_item(item, listing.defects, Reading(H, W))[:2]


def names(listing: Listing) -> list[str]:
    return [item.name for item in listing.items]


def of(listing: Listing, name: str) -> Item:
    return next(item for item in listing.items if item.name == name)


# -- own images, a folder of masks per defect


@pytest.fixture
def own(tmp_path) -> Path:
    root = tmp_path / "Prüfbilder Werk 2"
    for stem in ("part1 left", "part1 right", "part2 links", "gehäuse"):
        write(root / "images" / f"{stem}.png")
    write(root / "masks" / "scratch" / "part1 left.png", mask())
    write(root / "masks" / "dent" / "part1 left.png", mask(rows=slice(8, 10)))
    write(root / "masks" / "dent" / "gehäuse.png", mask(value=0))
    return root


def test_a_mask_folder_per_defect(own):
    listing = listed("masks", own, ["scratch", "dent"])
    assert sorted(names(listing)) == sorted(["part1 left", "part1 right", "part2 links", "gehäuse"])
    _, masks = read(listing, "part1 left")
    np.testing.assert_array_equal(masks[:, :, 0], mask() > 0)
    np.testing.assert_array_equal(masks[:, :, 1], mask(rows=slice(8, 10)) > 0)
    for healthy in ("part1 right", "gehäuse"):
        assert not read(listing, healthy)[1].any()


def test_groups_are_found_in_the_name(own):
    own.joinpath("images/gehäuse.png").rename(own / "images/part3 gehäuse.png")
    own.joinpath("masks/dent/gehäuse.png").unlink()
    groups = {i.name: i.group for i in listed("masks", own, ["scratch", "dent"], group=r"(part\d+)").items}
    assert groups["part1 left"] == groups["part1 right"] == "part1"
    assert groups["part2 links"] == "part2"
    with pytest.raises(UserError, match=r"data.group=x\\d: is not found in the name part"):
        listed("masks", own, ["scratch", "dent"], group=r"x\d")


def test_one_mask_with_a_value_per_defect(own):
    combined = np.zeros((H, W), np.uint8)
    combined[1:3], combined[5:7] = 1, 2
    write(own / "labels" / "part1 left.png", combined)
    listing = listed("masks", own, ["scratch", "dent"], masks="labels", values={"scratch": 1, "dent": 2})
    _, masks = read(listing, "part1 left")
    assert masks[:, :, 0].any(axis=1).nonzero()[0].tolist() == [1, 2]
    assert masks[:, :, 1].any(axis=1).nonzero()[0].tolist() == [5, 6]
    combined[9] = 7
    write(own / "labels" / "part1 left.png", combined)
    with pytest.raises(UserError, match=r"part1 left.png: has the value 7; data.values knows 1, 2, and 0"):
        read(listing, "part1 left")


def test_palette_masks_are_read_by_their_indices(own):
    from PIL import Image

    combined = np.zeros((H, W), np.uint8)
    combined[1:3] = 2
    image = Image.fromarray(combined, "P")
    image.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0] + [0] * 759)
    (own / "labels").mkdir()
    image.save(own / "labels" / "part1 left.png")
    listing = listed("masks", own, ["scratch", "dent"], masks="labels", values={"scratch": 1, "dent": 2})
    assert read(listing, "part1 left")[1][:, :, 1].sum() == 2 * W


def test_ignored_defects_take_their_images_along(own):
    listing = listed("masks", own, ["scratch"], ignore=["dent"])
    assert sorted(names(listing)) == ["part1 right", "part2 links"]


def refused(message: str):
    return pytest.raises(UserError, match=message)


def test_mistakes_of_own_masks_are_named(own, tmp_path):
    with refused(r"data\.root is not set: expected are images/NAME\.png"):
        listed("masks", None, ["scratch"])
    with refused(r"no such folder"):
        listed("masks", tmp_path / "nowhere", ["scratch"])
    with refused(r"masks/dent: is not in data\.defects=\['scratch'\]; add it, or .* data\.ignore=\[dent\]"):
        listed("masks", own, ["scratch"])
    with refused(r"data\.defects=rust: .*masks has no folder of that name, it holds dent, scratch"):
        listed("masks", own, ["scratch", "dent", "rust"])
    with refused(r"data\.values=\{'scratch': 1\}: must name each of data\.defects"):
        listed("masks", own, ["scratch", "dent"], values={"scratch": 1})
    with refused(r"data\.values: scratch=1: must be above 0 and of one defect only"):
        listed("masks", own, ["scratch", "dent"], values={"scratch": 1, "dent": 1})
    write(own / "masks" / "dent" / "typo.png", mask())
    with refused(r"masks/dent/typo\.png: there is no image of that name"):
        listed("masks", own, ["scratch", "dent"])
    (own / "masks" / "dent" / "typo.png").unlink()
    write(own / "images" / "part1 left.jpg")
    with refused(r"part1 left\.png: has the same stem as part1 left\.jpg"):
        listed("masks", own, ["scratch", "dent"])


def test_a_link_in_a_circle_is_named(own):
    (own / "images" / "loop.png").symlink_to(own / "images" / "loop.png")
    with refused(r"loop\.png: (cannot be read|is a link that leads nowhere)"):
        listed("masks", own, ["scratch", "dent"])


# -- COCO


def coco(root: Path, **changes) -> Path:
    for name in ("a.png", "b.png", "c.png"):
        write(root / "images" / name)
    square = [3, 2, 8, 2, 8, 5, 3, 5]
    runs = {"size": [H, W], "counts": [2, 3, 9, 3, H * W - 17]}
    content = {
        "images": [{"id": k, "file_name": f"{s}.png"} for k, s in enumerate("abc", 1)],
        "categories": [{"id": 7, "name": "scratch"}, {"id": 9, "name": "dent"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 7, "segmentation": [square]},
            {"id": 2, "image_id": 1, "category_id": 7, "segmentation": [[12, 6, 15, 6, 15, 9]]},
            {"id": 3, "image_id": 2, "category_id": 9, "segmentation": runs},
        ],
    }
    (root / "annotations.json").write_text(json.dumps(content | changes))
    return root


def test_coco_polygons_and_run_lengths(tmp_path):
    listing = listed("coco", coco(tmp_path), ["scratch", "dent"])
    assert names(listing) == ["a.png", "b.png", "c.png"]
    _, first = read(listing, "a.png")
    np.testing.assert_array_equal(first[:, :10, 0], mask(slice(2, 5), slice(3, 8))[:, :10] > 0)
    assert first[6:9, 12:15, 0].any()  # the second polygon of the same image
    _, second = read(listing, "b.png")
    rows, columns = second[:, :, 1].nonzero()
    assert sorted(set(zip(columns.tolist(), rows.tolist(), strict=True))) == [
        (0, 2), (0, 3), (0, 4), (1, 2), (1, 3), (1, 4)
    ]  # fmt: skip
    assert not read(listing, "c.png")[1].any()


def test_cocos_text_form_is_the_same_as_its_reference_gives(tmp_path):
    from faster_coco_eval.core import mask as reference

    pixels = np.random.default_rng(0).random((H, W)) > 0.6
    encoded = reference.encode(np.asfortranarray(pixels.astype(np.uint8)))
    text = encoded["counts"].decode() if isinstance(encoded["counts"], bytes) else encoded["counts"]
    annotation = {"id": 1, "image_id": 1, "category_id": 7, "segmentation": {"size": [H, W], "counts": text}}
    listing = listed("coco", coco(tmp_path, annotations=[annotation]), ["scratch", "dent"])
    np.testing.assert_array_equal(read(listing, "a.png")[1][:, :, 0], pixels)


@pytest.mark.parametrize("seed", range(5))
def test_polygons_are_filled_as_cocos_reference_does(seed):
    from faster_coco_eval.core import mask as reference

    rng = np.random.default_rng(seed)
    angles = np.sort(rng.uniform(0, 2 * np.pi, 9))
    points = np.stack([60 + 45 * np.cos(angles), 50 + 30 * np.sin(angles)], axis=1)
    outline = (points + rng.normal(0, 3, points.shape)).reshape(-1).tolist()
    expected = reference.decode(reference.frPyObjects([outline], 100, 120))[..., 0].astype(bool)
    mine = Polygons((tuple(outline),), "").mask((100, 120))
    assert (mine & expected).sum() / (mine | expected).sum() > 0.98


def test_a_polygon_thinner_than_a_pixel_does_not_vanish():
    assert Polygons(((3.0, 2.4, 9.0, 2.4, 9.0, 2.5),), "").mask((H, W)).any()


def test_coco_files_of_official_splits(tmp_path):
    coco(tmp_path)
    content = json.loads((tmp_path / "annotations.json").read_text())
    write(tmp_path / "images" / "d.png")
    other = content | {"images": [{"id": 1, "file_name": "d.png"}], "annotations": content["annotations"][:1]}
    (tmp_path / "test.json").write_text(json.dumps(other))
    listing = listed("coco", tmp_path, ["scratch", "dent"], test_annotations="test.json")
    assert [item.split for item in listing.items] == ["train"] * 3 + ["test"]
    assert of(listing, "d.png").labels == ("scratch",)


SHORT = {"id": 5, "image_id": 1, "category_id": 7}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": None}, r"annotations\.json: has no list images"),
        ({"categories": []}, r"data\.defects=scratch: annotations\.json has the categories"),
        (
            {
                "categories": [{"id": k, "name": n} for k, n in ((7, "scratch"), (9, "dent"), (1, "rust"))],
                "annotations": [
                    {"id": 1, "image_id": 1, "category_id": 1, "segmentation": [[0, 0, 4, 0, 4, 4]]}
                ],
            },
            r"category rust is not in data\.defects.*data\.ignore=\[rust\]",
        ),
        ({"images": [{"id": 1, "file_name": "z.png"}], "annotations": []}, r"image 1: z\.png: no such file"),
        (
            {"images": [{"id": 1, "file_name": "../../etc/x"}], "annotations": []},
            r"lies outside of data\.root",
        ),
        ({"annotations": [SHORT | {"image_id": 99}]}, r"annotation 5: image_id 99 is not among the images"),
        ({"annotations": [SHORT | {"category_id": 99}]}, r"annotation 5: category_id 99 is not among"),
        ({"annotations": [SHORT]}, r"annotation 5: segmentation is missing"),
        ({"annotations": [7]}, r"annotation \?: image_id is missing"),
        ({"annotations": [SHORT | {"image_id": [1]}]}, r"annotation 5: image_id must be a number or a text"),
        (
            {"annotations": [SHORT | {"segmentation": [[1, 1, 5, None, 5, 5]]}]},
            r"a polygon must be a list of",
        ),
        (
            {"annotations": [SHORT | {"segmentation": [[1, 1, 5, float("nan"), 5, 5]]}]},
            r"must be a list of num",
        ),
        (
            {"annotations": [SHORT | {"segmentation": {"size": None, "counts": [1]}}]},
            r"size must be \[height",
        ),
        (
            {"annotations": [SHORT | {"segmentation": {"size": [1, 2], "counts": [[1]]}}]},
            r"counts must be whole",
        ),
        (
            {"images": [{"id": 1, "file_name": "a.png"}, {"id": 1, "file_name": "b.png"}]},
            r"more than one image",
        ),
        ({"categories": [{"id": 7, "name": "a"}, {"id": 7, "name": "b"}]}, r"more than one category"),
        (
            {"images": [{"id": 1, "file_name": "x" * 300}], "annotations": []},
            r"cannot be read \(File name too",
        ),
        ({"annotations": [SHORT | {"segmentation": []}]}, r"annotation 5: has no segmentation; boxes alone"),
    ],
)
def test_mistakes_in_a_coco_file_are_named(tmp_path, changes, message):
    with refused(message):
        listed("coco", coco(tmp_path, **changes), ["scratch", "dent"])


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        ([[1, 2, 3, 4]], r"annotation 5: a polygon needs x and y of three or more points"),
        (
            {"size": [H, W + 1], "counts": [H * (W + 1)]},
            r"annotation 5: size 12 x 21, but the image has 12 x 20",
        ),
        ({"size": [H, W], "counts": [5, 5]}, r"annotation 5: run lengths add up to 10 pixels"),
        ({"size": [H, W], "counts": [-5, H * W + 5]}, r"annotation 5: a run length is below 0"),
    ],
)
def test_annotations_that_do_not_fit_their_image_are_named(tmp_path, segmentation, message):
    changed = coco(tmp_path, annotations=[SHORT | {"segmentation": segmentation}])
    with refused(message):
        read(listed("coco", changed, ["scratch", "dent"]), "a.png")


def test_polygons_drawn_on_another_size_are_refused(tmp_path):
    """Their coordinates would mark other pixels."""
    images = [
        {"id": k, "file_name": f"{s}.png", "height": 2 * H, "width": 2 * W} for k, s in enumerate("abc", 1)
    ]
    listing = listed("coco", coco(tmp_path, images=images), ["scratch", "dent"])
    with refused(r"annotation 1: was drawn on an image of 24 x 40 pixels, the file has 12 x 20"):
        read(listing, "a.png")


def test_one_file_under_two_spellings_is_one_image(tmp_path):
    images = [{"id": k, "file_name": name} for k, name in enumerate(("a.png", "b.png", "./a.png"), 1)]
    listing = listed("coco", coco(tmp_path, images=images), ["scratch", "dent"])
    assert names(listing) == ["a.png", "b.png", "a.png"]  # what opens the set refuses


def test_links_in_a_circle_are_named_in_a_manifest(tmp_path):
    coco(tmp_path, images=[{"id": 1, "file_name": "loop.png"}], annotations=[])
    (tmp_path / "images" / "loop.png").symlink_to(tmp_path / "images" / "loop.png")
    with refused(r"image 1: loop\.png: cannot be read \(its links lead in a circle\)"):
        listed("coco", tmp_path, ["scratch", "dent"])


def test_a_file_that_is_no_json_is_named(tmp_path):
    coco(tmp_path)
    (tmp_path / "annotations.json").write_text("{")
    with refused(r"annotations\.json: is not valid JSON"):
        listed("coco", tmp_path, ["scratch", "dent"])


# -- a table


TABLE = """image,mask,defect,split,group
img/a.png,m/a1.png,scratch,train,lot 1
img/a.png,m/a2.png,scratch,train,lot 1
img/a.png,m/a3.png,dent,train,
img/b.png,,,val,lot 2
img/c.png,,,test,lot 3
"""


@pytest.fixture
def table(tmp_path) -> Path:
    for name in "abc":
        write(tmp_path / "img" / f"{name}.png")
    for k in (1, 2, 3):
        write(tmp_path / "m" / f"a{k}.png", mask(rows=slice(3 * k, 3 * k + 1)))
    (tmp_path / "table.csv").write_text(TABLE)
    return tmp_path


def test_rows_of_one_image_are_merged(table):
    listing = listed("table", table, ["scratch", "dent"])
    assert [(i.name, i.split, i.group) for i in listing.items] == [
        ("img/a.png", "train", "lot 1"),
        ("img/b.png", "val", "lot 2"),
        ("img/c.png", "test", "lot 3"),
    ]
    _, masks = read(listing, "img/a.png")
    assert masks[:, :, 0].any(axis=1).nonzero()[0].tolist() == [3, 6]
    assert masks[:, :, 1].any(axis=1).nonzero()[0].tolist() == [9]


def test_parquet_is_read_like_csv(table):
    import pandas as pd

    pd.read_csv(table / "table.csv").to_parquet(table / "table.parquet")
    (table / "table.csv").unlink()
    listing = listed("table", table, ["scratch", "dent"], table="table.parquet")
    assert names(listing) == ["img/a.png", "img/b.png", "img/c.png"]
    assert read(listing, "img/a.png")[1][:, :, 0].any()


def test_numbers_in_parquet_are_groups_and_names_too(table):
    import pandas as pd

    frame = pd.read_csv(table / "table.csv")
    frame["group"] = [1, 1, 1, 2, 3]
    frame.to_parquet(table / "table.parquet")
    listing = listed("table", table, ["scratch", "dent"], table="table.parquet")
    assert [item.group for item in listing.items] == ["1", "2", "3"]


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("image,mask,defect,Split,group", r"column Split must be written split"),
        ("image,mask_path,defect,split,group", r"has no column mask, but image, mask_path, defect"),
        (
            "image;mask;defect;split;group",
            r"has no column image, but image;mask;defect;split;group.* by commas",
        ),
    ],
)
def test_columns_that_would_not_count_are_named(table, header, message):
    (table / "table.csv").write_text(TABLE.replace("image,mask,defect,split,group", header))
    with refused(r"table\.csv: " + message):
        listed("table", table, ["scratch", "dent"])


def test_spaces_around_a_column_do_not_matter(table):
    (table / "table.csv").write_text(TABLE.replace("image,mask,defect", "image, mask, defect"))
    assert read(listed("table", table, ["scratch", "dent"]), "img/a.png")[1][:, :, 0].any()


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (",m/a1.png,dent,train,", r"table\.csv, line 7: has no image"),
        ("img/x.png,,,train,", r"line 7: img/x\.png: no such file"),
        ("../x.png,,,train,", r"line 7: \.\./x\.png lies outside of data\.root"),
        ("img/b.png,m/a1.png,,val,", r"line 7: mask and defect must both be given"),
        ("img/b.png,m/a1.png,rust,val,", r"line 7: defect rust is not in data\.defects"),
        ("img/b.png,,,test,", r"line 7: img/b\.png has the split test, above it was val"),
        ("img/b.png,,,val,lot 9", r"line 7: img/b\.png has the group lot 9, above it was lot 2"),
        ("img/b.png,,,validation,", r"line 7: img/b\.png has the split validation"),
        ("img/d.png,,,valid,", r"line 7: split=valid: must be one of train, val, test"),
        ("img/d.png,,,,", r"img/d\.png has no split while others have one"),
    ],
)
def test_mistakes_in_a_table_name_their_line(table, row, message):
    write(table / "img" / "d.png")
    with open(table / "table.csv", "a") as file:
        file.write(row + "\n")
    with refused(message):
        listed("table", table, ["scratch", "dent"])


# -- Severstal


SEVERSTAL = "ImageId,ClassId,EncodedPixels\n"


def severstal(root: Path, rows: str) -> Path:
    for name in ("s1.jpg", "s2.jpg", "s3.jpg"):
        write(root / "train_images" / name)
    (root / "train.csv").write_text(rows)
    return root


def test_severstal_runs_count_from_one_along_columns_and_rows_are_merged(tmp_path):
    # 1 3: the first three pixels of column 0; H + 1 2: the first two of column 1
    rows = SEVERSTAL + f"s1.jpg,1,1 3 {H + 1} 2\ns1.jpg,1,{2 * H + 5} 1\ns1.jpg,4,{H * W} 1\n"
    listing = listed("severstal", severstal(tmp_path, rows), [f"class{k}" for k in range(1, 5)])
    _, masks = read(listing, "s1.jpg")
    expected = np.zeros((H, W), bool)
    expected[:3, 0] = expected[:2, 1] = expected[4, 2] = True
    np.testing.assert_array_equal(masks[:, :, 0], expected)
    assert np.argwhere(masks[:, :, 3]).tolist() == [[H - 1, W - 1]]
    assert names(listing) == ["s1.jpg", "s2.jpg", "s3.jpg"]
    assert not read(listing, "s2.jpg")[1].any()  # no row: healthy


def test_severstals_older_file_has_one_column_and_empty_rows(tmp_path):
    rows = "ImageId_ClassId,EncodedPixels\ns1.jpg_1,1 3\ns1.jpg_2,\ns2.jpg_1,\n"
    listing = listed("severstal", severstal(tmp_path, rows), ["class1", "class2"])
    assert of(listing, "s1.jpg").labels == ("class1",)
    assert of(listing, "s2.jpg").annotations == {}


def test_severstals_other_classes_take_their_images_along(tmp_path):
    rows = SEVERSTAL + "s1.jpg,1,1 3\ns2.jpg,3,1 3\n"
    assert names(listed("severstal", severstal(tmp_path, rows), ["class3"])) == ["s2.jpg", "s3.jpg"]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("s1.jpg,5,1 3", r"train\.csv, line 2: needs ImageId and a ClassId of 1 to 4"),
        ("s9.jpg,1,1 3", r"s9\.jpg is not in .*train_images"),
        ("s1.jpg,1,1 3 5", r"line 2: run lengths must be pairs, here are 3"),
        ("s1.jpg,1,0 3", r"line 2: a run lies outside of the image"),
        (f"s1.jpg,1,{H * W} 2", r"line 2: a run lies outside of the image, which has 240 pixels"),
        ("s1.jpg,1,one 3", r"line 2: run lengths must be whole numbers"),
        (f"s1.jpg,1,{10**20} 3", r"line 2: run lengths must be whole numbers"),
        (f"s1.jpg,1,{2**62} {2**62}", r"line 2: a run lies outside of the image"),
    ],
)
def test_mistakes_in_train_csv_are_named(tmp_path, row, message):
    with refused(message):
        root = severstal(tmp_path, SEVERSTAL + row + "\n")
        read(listed("severstal", root, ["class1", "class2", "class3", "class4"]), "s1.jpg")


# -- Kolektor, DAGM, MVTec AD, VisA


def test_kolektor_sdd_is_grouped_by_commutator(tmp_path):
    for folder in ("kos01", "kos02"):
        for part in range(2):
            write(tmp_path / folder / f"Part{part}.jpg")
            write(tmp_path / folder / f"Part{part}_label.bmp", mask(value=255 * part))
    listing = listed("kolektor_sdd", tmp_path, ["defect"])
    assert names(listing) == ["kos01/Part0", "kos01/Part1", "kos02/Part0", "kos02/Part1"]
    assert [item.group for item in listing.items] == ["kos01", "kos01", "kos02", "kos02"]
    assert [read(listing, name)[1].any() for name in names(listing)] == [False, True, False, True]
    (tmp_path / "kos02" / "Part1_label.bmp").unlink()
    with refused(r"kos02/Part1\.jpg: has no mask, .*Part1_label\.bmp is expected"):
        listed("kolektor_sdd", tmp_path, ["defect"])


def test_kolektor_sdd2_passes_over_copies_and_keeps_its_splits(tmp_path):
    for split, stem in (("train", "10000"), ("train", "10301"), ("test", "20000")):
        write(tmp_path / split / f"{stem}.png")
        write(tmp_path / split / f"{stem}_GT.png", mask())
    write(tmp_path / "train" / "10301_GT (copy).png", mask())
    write(tmp_path / "train" / "10301 (copy).png")
    listing = listed("kolektor_sdd2", tmp_path, ["defect"])
    assert [(i.name, i.split) for i in listing.items] == [
        ("train/10000", "train"), ("train/10301", "train"), ("test/20000", "test")
    ]  # fmt: skip
    assert read(listing, "test/20000")[1].sum() == 15


def test_dagm_has_labels_for_defective_images_only(tmp_path):
    ellipse = cv2.ellipse(np.zeros((H, W), np.uint8), (9, 6), (6, 3), 20, 0, 360, 255, -1)
    for split in ("Train", "Test"):
        for stem in ("0001", "0002"):
            write(tmp_path / "Class1" / split / f"{stem}.PNG")
        write(tmp_path / "Class1" / split / "Label" / "0002_label.PNG", ellipse)
    listing = listed("dagm", tmp_path, ["class1"])
    assert [(i.name, i.split, i.labels) for i in listing.items] == [
        ("Class1/Train/0001", "train", ()), ("Class1/Train/0002", "train", ("class1",)),
        ("Class1/Test/0001", "test", ()), ("Class1/Test/0002", "test", ("class1",)),
    ]  # fmt: skip
    np.testing.assert_array_equal(read(listing, "Class1/Train/0002")[1][:, :, 0], ellipse > 0)
    write(tmp_path / "Class1" / "Train" / "Label" / "0009_label.PNG", ellipse)
    with refused(r"0009_label\.PNG: there is no image of that name"):
        listed("dagm", tmp_path, ["class1"])
    (tmp_path / "Class1" / "Train" / "Label" / "0009_label.PNG").unlink()
    with refused(r"Class2/Train is missing"):
        listed("dagm", tmp_path, ["class1", "class2"])


def test_mvtec_ad_has_no_official_split_and_a_mask_for_every_defective_image(tmp_path):
    for stem in ("000", "001"):
        write(tmp_path / "bottle" / "train" / "good" / f"{stem}.png")
        write(tmp_path / "bottle" / "test" / "broken" / f"{stem}.png")
        write(tmp_path / "bottle" / "ground_truth" / "broken" / f"{stem}_mask.png", mask())
        write(tmp_path / "bottle" / "test" / "dirt" / f"{stem}.png")
    write(tmp_path / "bottle" / "test" / "good" / "000.png")
    listing = listed("mvtec_ad", tmp_path, ["broken"], category="bottle")
    assert sorted(names(listing)) == [
        "test/broken/000", "test/broken/001", "test/good/000", "train/good/000", "train/good/001"
    ]  # fmt: skip
    assert all(item.split is None for item in listing.items)
    assert read(listing, "test/broken/001")[1].any()
    with refused(r"data\.defects=rust: must be any of broken, dirt"):
        listed("mvtec_ad", tmp_path, ["rust"], category="bottle")
    with refused(r"test/dirt/000\.png: has no mask, .*ground_truth/dirt/000_mask\.png is expected"):
        listed("mvtec_ad", tmp_path, ["dirt"], category="bottle")
    with refused(r"cable/train/good is missing"):
        listed("mvtec_ad", tmp_path, ["broken"], category="cable")


VISA = """object,split,label,image,mask
pcb1,train,normal,pcb1/Data/Images/Normal/0.JPG,
pcb1,train,anomaly,pcb1/Data/Images/Anomaly/0.JPG,pcb1/Data/Masks/Anomaly/0.png
pcb1,test,anomaly,pcb1/Data/Images/Anomaly/1.JPG,pcb1/Data/Masks/Anomaly/1.png
candle,test,normal,candle/Data/Images/Normal/0.JPG,
"""


def test_visa_takes_one_object_and_any_value_above_zero(tmp_path):
    for image in ("Normal/0", "Anomaly/0", "Anomaly/1"):
        write(tmp_path / "pcb1/Data/Images" / f"{image}.JPG")
    for k in (0, 1):
        write(tmp_path / "pcb1/Data/Masks/Anomaly" / f"{k}.png", mask(value=k + 1))
    write(tmp_path / "candle/Data/Images/Normal/0.JPG")
    (tmp_path / "split_csv").mkdir()
    (tmp_path / "split_csv/2cls_highshot.csv").write_text(VISA)
    listing = listed("visa", tmp_path, ["anomaly"], category="pcb1")
    assert [item.split for item in listing.items] == ["train", "train", "test"]
    for k in (0, 1):
        assert read(listing, f"pcb1/Data/Images/Anomaly/{k}.JPG")[1].sum() == 15
    with refused(r"data\.category=pcb9: 2cls_highshot\.csv has candle, pcb1"):
        listed("visa", tmp_path, ["anomaly"], category="pcb9")
