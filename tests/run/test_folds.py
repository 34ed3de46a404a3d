"""Cross-validation among the training images: who is left out, and that a run trains without."""

import pickle

import numpy as np
import pytest

from sbp.build.data import build_source, open_cached
from sbp.build.folds import fold_numbers
from sbp.config import Config
from sbp.data.dataset import DataSet
from sbp.errors import UserError
from sbp.run.fingerprint import fingerprint
from tests.conftest import make_config
from tests.data.test_formats import image

SIDE = 16


@pytest.fixture
def parts(tmp_path):
    """20 parts, three photographs each, the first of every second part with a scratch."""
    rng = np.random.default_rng(0)
    for part in range(20):
        for view in "abc":
            image(tmp_path / f"images/part{part:02}_{view}.png", rng.integers(0, 99, (SIDE, SIDE), np.uint8))
        if part % 2:
            mask = np.zeros((SIDE, SIDE), np.uint8)
            mask[4:8, 4:8] = 255
            image(tmp_path / f"masks/scratch/part{part:02}_a.png", mask)
    return tmp_path


def opened(root, *overrides: str) -> tuple[Config, DataSet]:
    words = ["data=masks", f"data.root={root}", "data.defects=[scratch]", r"data.group='part\d+'"]
    config = make_config(*words, "scale.real_image_size=32", f"output_root={root / 'out'}", *overrides)
    return config, open_cached(config)


def test_each_image_is_left_out_once_with_its_whole_group(parts):
    _, whole = opened(parts)
    left_out = []
    for fold in range(4):
        config, data = opened(parts, "folds.count=4", f"folds.without={fold}")
        names = set(data.train.names)
        gone = [name for name in whole.train.names if name not in names]
        left_out += gone
        assert {name[:6] for name in gone}.isdisjoint(name[:6] for name in names)  # no part on both sides
        held = np.array([name in gone for name in whole.train.names])
        assert whole.train.labels[held].any()  # the defect is in every fold
        assert data.train.labels.any()
        assert (data.mean, data.splits["val"].names) == (whole.mean, whole.splits["val"].names)
        numbers = fold_numbers(config, build_source(config.data, config.output_root), whole)
        assert [whole.train.names[n] for n in np.flatnonzero(numbers == fold)] == gone
    assert sorted(left_out) == sorted(whole.train.names)


def test_what_is_left_are_the_same_images_also_for_another_process(parts):
    _, whole = opened(parts)
    for cache in ("disk", "stream"):
        _, data = opened(parts, "folds.count=3", "folds.without=1", f"data.cache={cache}")
        train = pickle.loads(pickle.dumps(data.train)) if cache == "disk" else data.train
        rows = np.array([whole.train.names.index(name) for name in train.names])
        for key in ("images", "masks"):
            expected = getattr(whole.train, key)[rows]
            np.testing.assert_array_equal(getattr(train, key)[np.arange(len(rows))], expected)
            np.testing.assert_array_equal(getattr(train, key)[2], expected[2])
            np.testing.assert_array_equal(getattr(train, key)[1:4], expected[1:4])
        assert train.is_streamed == (cache == "stream")
    assert len(pickle.dumps(data.train.rows(np.arange(2)).labels)) < 1000


def test_a_fold_goes_by_path_to_another_process(parts):
    _, data = opened(parts, "folds.count=3", "folds.without=1")
    assert len(pickle.dumps(data.train)) < 0.5 * data.train.images.array.nbytes


def test_folds_are_runs_of_their_own_and_no_folds_the_run_as_before():
    without = [make_config("folds.count=3", f"folds.without={fold}") for fold in range(3)]
    assert len({fingerprint(config) for config in (make_config(), *without)}) == 4


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["folds.count=1"], "folds.count=1: must be 0 or at least 2"),
        (["folds.count=3", "folds.without=3"], "folds.without=3: must be at least 0 and below folds.count=3"),
        (["folds.without=1"], "folds.without=1: must be 0 without folds.count"),
    ],
)
def test_a_wrong_fold_is_one_line(words, line):
    with pytest.raises(UserError, match=line):
        make_config(*words)


def test_more_folds_than_groups_is_one_line(parts):
    with pytest.raises(UserError, match=r"folds.count=30: the training images are \d+ groups, must be at "):
        opened(parts, "folds.count=30")
