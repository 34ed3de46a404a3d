"""What COCO's box, area and image size say against what is drawn."""

import json
from pathlib import Path

import numpy as np
import pytest

from sbp.cli.data import main
from sbp.config import register_schemas
from sbp.config.paths import register_resolvers
from sbp.data.disk.claims import Claims
from sbp.errors import UserError
from tests.data.test_formats import H, W, image, listed, mask_of, text

register_schemas()
register_resolvers()
POLYGON = [4.0, 3.0, 12.0, 3.0, 12.0, 9.0, 4.0, 9.0]
BOX = [4, 3, 8, 6]


def coco_set(root: Path, images: int = 10, **annotation) -> Path:
    """Half of the images have the polygon."""
    rng = np.random.default_rng(0)
    for k in range(images):
        image(root / "images" / f"{k}.png", rng.integers(0, 255, (H, W), dtype=np.uint8))
    entries = [
        {"id": k, "image_id": k, "category_id": 1, "segmentation": [POLYGON], **annotation}
        for k in range(0, images, 2)
    ]
    content = {
        "images": [{"id": k, "file_name": f"{k}.png", "height": H, "width": W} for k in range(images)],
        "categories": [{"id": 1, "name": "scratch"}],
        "annotations": entries,
    }
    return text(root / "annotations.json", content).parent


def check(root: Path, tmp_path: Path, capsys, monkeypatch, *overrides: str) -> tuple[int, str]:
    monkeypatch.setenv("SBP_OUTPUT", str(tmp_path / "outputs"))
    code = main(["check", f"data.root={root}", *overrides, "--out", str(tmp_path / "report")])
    return code, capsys.readouterr().out


def test_coordinates_divided_by_the_images_size_are_refused_and_found(tmp_path, capsys, monkeypatch):
    shares = [value / (W, H)[k % 2] for k, value in enumerate(POLYGON)]
    root = coco_set(tmp_path / "set", bbox=BOX, segmentation=[shares])
    with pytest.raises(
        UserError, match=r"bbox says 8 x 6 at \(4, 3\), its outline is 0\.2 x 0\.25 at \(0\.1, 0\.125\)"
    ):
        mask_of(listed(root), "0.png", "scratch")
    code, said = check(root, tmp_path, capsys, monkeypatch)
    assert code == 1
    assert "5 images cannot be used" in said
    assert "the coordinates are divided by the image's size" in said


@pytest.mark.parametrize(
    ("said", "finding"),
    [
        ({"bbox": BOX, "area": 48}, None),
        ({"bbox": [4, 3, 7, 5], "area": 40}, None),  # counted from the centres of pixels
        ({"bbox": [0, 0, 0, 0], "area": 0}, None),  # says nothing
        ({"bbox": [4, 3, 8, 6], "area": 1}, "area says 1 pixels, its outline covers 48"),
        ({"area": 4800}, "area says 4800 pixels, its outline covers 48"),
        ({"bbox": [8, 6, 16, 12]}, "bbox says 16 x 12 at (8, 6), its outline is 8 x 6 at (4, 3)"),
    ],
)
def test_contradictions_are_a_finding_with_both_numbers(tmp_path, capsys, monkeypatch, said, finding):
    code, printed = check(coco_set(tmp_path / "set", **said), tmp_path, capsys, monkeypatch)
    if finding is None:
        assert code == 0
        assert "contradicts" not in printed
    else:
        assert finding in printed


def test_the_area_of_the_box_is_what_some_tools_write():
    """A diagonal scratch covers a tenth of its box, whose area Roboflow writes."""
    mask = np.eye(30, dtype=bool)
    assert Claims((0, 0, 30, 30), 900.0).contradiction(mask) == ""
    assert "area says 9000" in Claims((0, 0, 30, 30), 9000.0).contradiction(mask)


def test_an_image_of_another_size_is_named(tmp_path):
    root = coco_set(tmp_path / "set")
    content = json.loads((root / "annotations.json").read_text())
    content["images"][0] |= {"height": 2 * H, "width": 2 * W}
    text(root / "annotations.json", content)
    with pytest.raises(
        UserError, match=r"annotation 0: was drawn on an image of 48 x 80 pixels, the file has 24 x 40"
    ):
        mask_of(listed(root), "0.png", "scratch")
