"""Photographs that are stored rotated: read as their annotations were drawn, or it is said."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sbp.cli.data import main
from sbp.config import register_schemas
from sbp.config.paths import register_resolvers
from sbp.data.layouts import LAYOUTS
from tests.conftest import make_config
from tests.data.test_formats import text

register_schemas()
register_resolvers()
SIDE = 40
SQUARE = [[4, 3], [14, 3], [14, 19], [4, 19]]


def photographs(root: Path, *, height: int = SIDE, orientation: int = 6, count: int = 8) -> Path:
    """Bright squares at SQUARE as the photographs are shown; stored rotated, with an EXIF orientation."""
    rng = np.random.default_rng(0)
    for k in range(count):
        shown = rng.integers(40, 90, (height, SIDE), dtype=np.uint8)
        if k % 2 == 0:
            shown[3:19, 4:14] = 240
        stored = {6: np.rot90(shown), 3: np.rot90(shown, 2)}[orientation]
        pixels = Image.fromarray(np.ascontiguousarray(stored))
        exif = pixels.getexif()
        exif[0x0112] = orientation
        root.mkdir(parents=True, exist_ok=True)
        pixels.save(root / f"{k}.png", exif=exif)
    return root


def labelme(root: Path, *, height: int = SIDE, count: int = 8, as_stored: bool = False) -> Path:
    for k in range(0, count, 2):
        points = [[y, SIDE - x] for x, y in SQUARE] if as_stored else SQUARE
        size = (
            {"imageHeight": SIDE, "imageWidth": height}
            if as_stored
            else {"imageHeight": height, "imageWidth": SIDE}
        )
        shapes = [{"label": "dent", "shape_type": "polygon", "points": points}]
        text(root / f"{k}.json", {"imagePath": f"{k}.png", "shapes": shapes, **size})
    return root


def check(root, tmp_path, capsys, monkeypatch, *overrides):
    monkeypatch.setenv("SBP_OUTPUT", str(tmp_path / "outputs"))
    code = main(["check", f"data.root={root}", *overrides, "--out", str(tmp_path / "report")])
    return code, capsys.readouterr().out


def test_what_labelme_shows_rotated_is_read_rotated(tmp_path, capsys, monkeypatch):
    from sbp.build.data import build_source

    root = labelme(photographs(tmp_path / "set"))
    config = make_config("data=labelme", f"data.root={root}", f"output_root={tmp_path}", "data.image_size=32")
    source = build_source(config.data, tmp_path)
    sample = next(
        s
        for split, n in source.lengths().items()
        for k in range(n)
        if (s := source.sample(split, k)).labels.any()
    )
    assert sample.image[sample.masks[:, :, 0] == 1].mean() > 200
    assert "data.exif=apply" in sample.note
    code, said = check(root, tmp_path, capsys, monkeypatch)
    assert code == 0
    assert (
        "8 images say (EXIF) that they are to be shown rotated and are read as they are shown; their anno"
        in said
    )


@pytest.mark.parametrize("orientation", [3, 6])
def test_the_check_compares_both_ways_where_sizes_cannot_tell(tmp_path, capsys, monkeypatch, orientation):
    root = labelme(photographs(tmp_path / "set", orientation=orientation))
    code, said = check(root, tmp_path, capsys, monkeypatch, "data.exif=ignore")
    assert code == 1
    assert "4 annotated ones fit the other way better" in said
    assert "set data.exif=apply" in said


def test_masks_are_read_as_images_are_stored_and_checked_both_ways(tmp_path, capsys, monkeypatch):
    root = tmp_path / "set"
    photographs(root / "images")
    for k in range(0, 8, 2):
        mask = np.zeros((SIDE, SIDE), np.uint8)
        mask[3:19, 4:14] = 255  # drawn on the image as it is shown
        (root / "masks" / "dent").mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask).save(root / "masks" / "dent" / f"{k}.png")
    code, said = check(root, tmp_path, capsys, monkeypatch)
    assert (code, "set data.exif=apply" in said) == (1, True)
    code, said = check(root, tmp_path, capsys, monkeypatch, "data.exif=apply")
    assert code == 0


@pytest.mark.parametrize(
    ("exif", "how"), [("apply", "shown, try data.exif=ignore"), ("ignore", "stored, try data.exif=apply")]
)
def test_where_sizes_tell_the_line_names_exif(tmp_path, capsys, monkeypatch, exif, how):
    root = photographs(tmp_path / "set", height=24)
    labelme(root, height=24, as_stored=exif == "apply")
    code, said = check(root, tmp_path, capsys, monkeypatch, f"data.exif={exif}")
    assert code == 1
    assert f"0.png has the EXIF orientation 6 and was read as it is {how}" in said
    code, _ = check(
        root, tmp_path, capsys, monkeypatch, f"data.exif={'ignore' if exif == 'apply' else 'apply'}"
    )
    assert code == 0


def test_training_says_that_images_were_rotated(tmp_path, caplog):
    from sbp.build.data import open_cached

    root = labelme(photographs(tmp_path / "set"))
    config = make_config("data=labelme", f"data.root={root}", f"output_root={tmp_path}", "data.image_size=32")
    with caplog.at_level("WARNING", logger="sbp"):
        open_cached(config)
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith(
        "8 images that are to be shown rotated (EXIF) are read as they are shown (data.exif=apply)"
    )


@pytest.mark.parametrize(
    ("layout", "shown"),
    [("labelme", True), ("yolo", True), ("coco", True), ("masks", False), ("table", False)],
)
def test_each_layout_is_read_as_its_tools_draw(layout, shown):
    assert LAYOUTS[layout].drawn_as_shown is shown


def test_predictions_are_of_images_as_they_were_trained_on(tmp_path, monkeypatch):
    """A checkpoint remembers how its images were read, also where data=auto found that out."""
    from sbp.predict.folder import read_as_trained

    root = labelme(photographs(tmp_path / "set"))
    for exif, expected in ((None, "apply"), ("ignore", "ignore")):
        words = [] if exif is None else [f"data.exif={exif}"]
        config = make_config("data=auto", f"data.root={root}", *words)
        assert config.data.exif == expected
        upright = read_as_trained(root / "0.png", config)[3:19, 4:14]
        assert (upright.mean() > 200) == (expected == "apply")
