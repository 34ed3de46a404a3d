"""Wrong values thrown at every config key and every loader: one clear line, never a traceback from inside."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sbp.build import trainer as build
from sbp.build.data import build_source
from sbp.config import flattened
from sbp.config.preflight import check_overrides
from sbp.data.dataset import open_data
from sbp.data.disk.decode import read_image, read_mask
from sbp.errors import UserError
from sbp.utils.progress import Progress
from tests.conftest import ToySource, make_config

KEYS = sorted(flattened(make_config()))
WRONG = st.one_of(
    st.sampled_from(
        [
            "null",
            "true",
            "[]",
            "[1]",
            "{a:1}",
            "nan",
            "inf",
            "-inf",
            "1e308",
            "''",
            "x",
            "'../../etc'",
            "-1",
            "0",
        ]
    ),
    st.integers(-(10**20), 10**20).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.text('abcäß ü_-./<>&"%', max_size=20).map(lambda text: "'" + text + "'"),
)
FEW = settings(max_examples=80, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    return open_data(ToySource(), tmp_path_factory.mktemp("cache"))


def assert_built_or_line(toy, key: str, value: str) -> None:
    """What the check of the command line lets through must build a trainer, or be one line there."""
    line = ""
    try:
        config = check_overrides(["scale=smoke", f"{key}={value}"]).jobs[0].config
        small = config.data.image_size == 32 and config.model.architecture == "unet"
        if small and key.split(".")[0] not in ("data", "scale", "output_root", "run_dir"):
            model = build.build_model(config, 2)
            trainer = build.build_trainer(config, model, toy, Progress())
            trainer.sampler.record_scores(np.arange(60), np.ones((2, 60, 2), np.float32), 0)
            assert len(trainer.sampler.plan(1).indices) > 0
    except UserError as error:
        line = str(error)
    assert "\n" not in line
    assert len(line) < 500
    assert not line or key.rpartition(".")[2] in line, "the key is not named"


@settings(FEW, max_examples=10)
@given(key=st.sampled_from(KEYS), value=WRONG)
def test_a_wrong_value_is_one_line_and_an_accepted_one_builds(toy, key, value):
    assert_built_or_line(toy, key, value)


@pytest.mark.slow
@pytest.mark.parametrize("key", KEYS)
@settings(FEW, max_examples=2)
@given(value=WRONG)
def test_wrong_values_of_every_key_are_one_line_or_build(toy, key, value):
    assert_built_or_line(toy, key, value)


def assert_array_or_line(read, path: Path) -> None:
    try:
        found = read(path)
    except UserError as error:
        found = str(error)
    if isinstance(found, str):
        assert str(path) in found
        assert "\n" not in found
    else:
        assert found.size > 0


@FEW
@given(content=st.binary(max_size=200), suffix=st.sampled_from([".png", ".jpg", ".bmp", ".tif"]))
def test_any_bytes_as_an_image_or_mask_are_an_array_or_one_line(tmp_path_factory, content, suffix):
    path = tmp_path_factory.mktemp("bytes") / f"ä file{suffix}"
    path.write_bytes(content)
    for read in (lambda p: read_image(p, 1), lambda p: read_image(p, 3), read_mask):
        assert_array_or_line(read, path)


@settings(FEW, max_examples=60)
@given(position=st.integers(0, 10**6), byte=st.integers(0, 255), cut=st.booleans())
def test_a_damaged_png_is_an_array_or_one_line(tmp_path_factory, position, byte, cut):
    image = np.random.default_rng(0).integers(0, 255, (20, 20)).astype(np.uint8)
    content = bytearray(cv2.imencode(".png", image)[1].tobytes())
    content[position % len(content)] = byte
    path = tmp_path_factory.mktemp("damaged") / "image.png"
    path.write_bytes(content[: position % len(content)] if cut else content)
    for read in (lambda p: read_image(p, 1), read_mask):
        assert_array_or_line(read, path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 10**12) | st.text(max_size=5) | st.floats(allow_nan=False),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["images", "annotations", "categories", "id", "file_name", "segmentation", "image_id"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


COCO, TABLE = (make_config(f"data={name}", "data.defects=[scratch]").data for name in ("coco", "table"))
SEVERSTAL = make_config("data=severstal").data


def written(root: Path, text: str, name: str) -> Path:
    (root / "images").mkdir()
    cv2.imwrite(str(root / "images" / "a.png"), np.zeros((8, 8), np.uint8))
    (root / name).write_text(text, encoding="utf-8")
    return root


@FEW
@given(content=JSON)
def test_any_json_as_coco_annotations_is_one_line(tmp_path_factory, content):
    root = written(tmp_path_factory.mktemp("coco"), json.dumps(content), "annotations.json")
    data = replace(COCO, root=str(root))
    with pytest.raises(UserError) as error:
        build_source(data, root)
    assert "\n" not in str(error.value)


COCO_PARTS = {
    "image": st.fixed_dictionaries(
        {"id": st.integers(0, 2)},
        optional={
            "file_name": st.sampled_from(["a.png", "../a.png", "/etc/passwd", "", "missing.png"]),
            "height": st.sampled_from([8, 0, -1, 9, "8", None]),
            "width": st.sampled_from([8, 1e9]),
        },
    ),
    "annotation": st.fixed_dictionaries(
        {"image_id": st.integers(0, 2), "category_id": st.sampled_from([1, 2, "1", None])},
        optional={
            "segmentation": st.sampled_from(
                [
                    [[1, 1, 5, 1, 5, 5]],
                    [[1]],
                    [],
                    [["a", "b"]],
                    {"size": [8, 8], "counts": [60, 4]},
                    {"size": [8, 8], "counts": [-5, 4]},
                    {"size": [8, 8], "counts": "~~~"},
                    {"counts": [1]},
                    7,
                ]
            ),
            "id": st.integers(0, 3),
        },
    ),
}


@FEW
@given(
    images=st.lists(COCO_PARTS["image"], max_size=3),
    annotations=st.lists(COCO_PARTS["annotation"], max_size=3),
    category=st.sampled_from([{"id": 1, "name": "scratch"}, {"id": 1}, {"name": "scratch"}, 5]),
)
def test_nearly_right_coco_annotations_are_one_line(tmp_path_factory, images, annotations, category):
    content = {"images": images, "annotations": annotations, "categories": [category]}
    root = written(tmp_path_factory.mktemp("coco"), json.dumps(content), "annotations.json")
    data = replace(COCO, root=str(root))
    with pytest.raises(UserError) as error:  # one image is too few for three splits in any case
        build_source(data, root)
    assert "\n" not in str(error.value)


CELL = st.sampled_from(
    ["images/a.png", "../x.png", "/etc/passwd", "", "scratch", "train", "no\u0000ne", "ä;,"]
)


@FEW
@given(
    header=st.lists(st.sampled_from(["image", "mask", "defect", "split", "group", "x", ""]), max_size=6),
    rows=st.lists(st.lists(CELL, max_size=6), max_size=4),
)
def test_any_table_is_one_line(tmp_path_factory, header, rows):
    text = "\n".join(",".join(cells) for cells in [header, *rows])
    root = written(tmp_path_factory.mktemp("table"), text, "table.csv")
    data = replace(TABLE, root=str(root))
    with pytest.raises(UserError) as error:
        build_source(data, root)
    assert "\n" not in str(error.value)


RUNS = st.sampled_from(["", "1 3", "1 3 7", "0 3", "-1 2", "1 99999999", "a b", "1.5 2", "5 2 1 2", "é"])


@FEW
@given(
    header=st.sampled_from(["ImageId,ClassId,EncodedPixels", "ImageId_ClassId,EncodedPixels", "a,b", ""]),
    rows=st.lists(
        st.tuples(st.sampled_from(["a.jpg", "b.jpg", "", "../a.jpg"]), st.sampled_from("159x"), RUNS),
        max_size=4,
    ),
)
def test_any_severstal_table_is_one_line(tmp_path_factory, header, rows):
    root = tmp_path_factory.mktemp("severstal")
    (root / "train_images").mkdir()
    cv2.imwrite(str(root / "train_images" / "a.jpg"), np.zeros((8, 16), np.uint8))
    joint = header.startswith("ImageId_")
    lines = [f"{name}_{number},{runs}" if joint else f"{name},{number},{runs}" for name, number, runs in rows]
    (root / "train.csv").write_text("\n".join([header, *lines]), encoding="utf-8")
    with pytest.raises(UserError) as error:
        build_source(replace(SEVERSTAL, root=str(root)), root)
    assert "\n" not in str(error.value)
