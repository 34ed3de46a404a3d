"""BSData: which photographs without polygons count as healthy."""

import subprocess
import sys

import numpy as np

from experiments.real_bsdata.prepare import usable
from tests.conftest import ROOT
from tests.data.test_formats import image

BEFORE, MARKED, AFTER, ELSEWHERE = (
    "01_200828110055_305000_090_crop_2",
    "01_200829110055_305000_090_crop_2",
    "01_200830110055_305000_090_crop_2",
    "01_200828110055_332500_225_crop_2",
)


def test_healthy_is_what_precedes_the_first_pitting_of_its_position():
    names = [ELSEWHERE, AFTER, MARKED, BEFORE, "KGT 12"]
    assert usable(names, {MARKED, "KGT 12"}) == [BEFORE, MARKED, "KGT 12"]
    assert usable(names, set()) == []  # nothing says when wear began


def test_the_folder_holds_links_to_these(tmp_path):
    for name in (BEFORE, MARKED, AFTER):
        image(tmp_path / "set" / f"{name}.jpg", np.zeros((8, 8), np.uint8))
    image(tmp_path / "set" / "KGT 12.jpg", np.zeros((12, 16), np.uint8))  # its size gives it away
    for name in (MARKED, "KGT 12"):
        (tmp_path / "set" / f"{name}.json").write_text("{}")
    command = [sys.executable, "-m", "experiments.real_bsdata.prepare"]
    paths = [str(tmp_path / name) for name in ("set", "out")]
    for _ in range(2):  # again changes nothing
        done = subprocess.run([*command, *paths], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert "1 photographs with a pitting, 1 from before the first one" in done.stdout
        assert "1 left out: perhaps worn" in done.stdout
        assert "1 left out: of another size" in done.stdout
    found = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert found == [f"{BEFORE}.jpg", f"{MARKED}.jpg", f"{MARKED}.json"]
    assert (tmp_path / "out" / f"{MARKED}.json").read_text() == "{}"
    nothing = subprocess.run([*command, str(tmp_path), "out"], cwd=ROOT, capture_output=True, text=True)
    assert nothing.returncode == 1
    assert nothing.stderr == f"{tmp_path}: no .jpg in this folder\n"
