"""Data sets as options: a class per layout or generated set, whose constructor's parameters are the keys."""

import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from sbp.build.data import build_source
from sbp.config.groups import DiskData
from sbp.config.schemas import own_keys, schema
from sbp.data.dataset import open_data
from sbp.data.disk.annotations import MaskFile
from sbp.data.disk.listing import Item
from sbp.data.layouts import LAYOUTS, Layout
from sbp.data.layouts.files import images_in
from sbp.data.source import SOURCES, SPLITS, Sample
from sbp.errors import UserError
from tests.conftest import ROOT
from tests.data.test_own_data import save


@pytest.fixture(autouse=True)
def registries(monkeypatch):
    """What a test registers is gone after it."""
    for registry in (LAYOUTS, SOURCES):
        monkeypatch.setattr(registry, "_classes", dict(registry._classes))


def config_of(name: str, **keys):
    """The option's config, as its YAML would give it."""
    defects = {"defects": ["dot"], "common": ["dot"], "rare": ["dot"]}
    return schema("data", name)(**{"image_size": 16, "compute": 1.0, **defects, **keys})


def write_pairs(root: Path, count: int = 24) -> Path:
    for k in range(count):
        save(root / f"{k:02}_image.png", np.full((16, 16), 60 + k, np.uint8))
        mask = np.zeros((16, 16), np.uint8)
        mask[4:8, 4:8] = 255 * (k % 2)
        save(root / f"{k:02}_mask.png", mask)
    return root


def test_a_layout_from_outside_is_a_class_with_its_keys(tmp_path):
    @LAYOUTS.register("pairs")
    @dataclass(frozen=True)
    class Pairs(Layout):
        """Images and masks side by side. end: how the name of a mask ends."""

        end: str = "_mask"
        skipped: list[str] = field(default_factory=list)

        expected = "expected are NAME_image.png and NAME_mask.png"

        def __post_init__(self) -> None:
            if not self.end:
                raise ValueError(f"end={self.end}: must be a text")

        def items(self, root, defects):
            found = [path for path in images_in(root) if path.stem.endswith("_image")]
            masks = [path.with_name(path.name.replace("_image", self.end)) for path in found]
            return [
                Item(path.stem, path, {defects[0]: (MaskFile(mask),)}, path.stem)
                for path, mask in zip(found, masks, strict=True)
                if path.stem not in self.skipped
            ]

    assert own_keys("data", "pairs") == {"end", "skipped"}
    assert issubclass(schema("data", "pairs"), DiskData)
    root = write_pairs(tmp_path / "set")
    config = config_of("pairs", root=str(root), skipped=["00_image"])
    data = open_data(build_source(config, tmp_path), tmp_path / "cache")
    assert sum(len(split) for split in data.splits.values()) == 23
    assert sum(int(split.labels.sum()) for split in data.splits.values()) == 12
    with pytest.raises(UserError, match=r"^data\.end=: must be a text$"):
        build_source(config_of("pairs", root=str(root), end=""), tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"empty: holds no image; expected are NAME_image\.png"):
        build_source(config_of("pairs", root=str(tmp_path / "empty")), tmp_path)


def test_a_generated_set_from_outside_is_a_class_with_its_keys(tmp_path):
    @SOURCES.register("dots")
    class Dots:
        """Grey images with a dot in every other one. radius: of the dot in pixels."""

        def __init__(self, image_size: int, seed: int, defects: list[str], count: int = 8, radius: int = 2):
            if radius < 1:
                raise ValueError(f"radius={radius}: must be at least 1")
            self.size, self.seed, self.count, self.radius = image_size, seed, count, radius
            self.defects = tuple(defects)

        def describe(self):
            return {"size": self.size, "seed": self.seed, "count": self.count, "radius": self.radius}

        def lengths(self):
            return dict.fromkeys(SPLITS, self.count)

        def sample(self, split, index):
            mask = np.zeros((self.size, self.size, 1), np.uint8)
            mask[: self.radius, : self.radius] = index % 2
            return Sample(mask * 99, mask, None, f"{split}_{index}")

    assert own_keys("data", "dots") == {"count", "radius"}
    data = open_data(build_source(config_of("dots", radius=3), tmp_path), tmp_path / "cache")
    assert (data.name, data.defects) == ("dots", ("dot",))
    assert data.train.masks.sum() == 4 * 9
    with pytest.raises(UserError, match=r"^data\.radius=0: must be at least 1$"):
        build_source(config_of("dots", radius=0), tmp_path)


@pytest.mark.parametrize("name", sorted({*LAYOUTS, *SOURCES}))
def test_every_data_set_says_what_it_is_and_has_its_file(name):
    cls = LAYOUTS[name] if name in LAYOUTS else SOURCES[name]
    assert cls.name == name
    assert cls.__doc__
    assert (ROOT / "conf" / "data" / f"{name}.yaml").is_file()
    if name in LAYOUTS:
        assert cls.expected.startswith("expected ")


def test_registering_all_data_sets_imports_no_heavy_library():
    code = (
        "import json, sys, sbp.data.classes, sbp.data.layouts, sbp.data.synthetic; "
        "from sbp.data.source import SOURCES; "
        "print(json.dumps([len(sbp.data.layouts.LAYOUTS), len(SOURCES), sorted(sys.modules)]))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    layouts, sources, modules = json.loads(done.stdout)
    assert (layouts, sources) == (14, 6)
    assert not {"torch", "albumentations", "mlflow", "pandas", "hydra", "matplotlib"} & set(modules)
