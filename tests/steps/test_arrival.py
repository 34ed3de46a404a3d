"""A defect that comes in late."""

import copy
import json
import logging
import pickle
from pathlib import Path

import numpy as np
import pytest

from sbp.build.data import open_cached
from sbp.config import Config
from sbp.data.dataset import DataSet
from sbp.data.source import VOID
from sbp.engine.callbacks import EpochRecord
from sbp.errors import UserError
from sbp.run.fingerprint import fingerprint
from sbp.steps import run
from sbp.steps.arrival import Forgetting, Measured, arrived, budget_of, first_step, part_of
from sbp.tracking.runs import read_runs
from sbp.tracking.store import open_store
from sbp.utils.progress import Progress
from tests.conftest import make_config

SMALL = (
    "model.encoder_depth=3", "model.decoder_channels=[16,8,8]", "budget.compute=1", "selection=replay",
    "defects=rare", "arrival.defect=broken", "data.train_images=100", "data.rare_share=0.08",
    "data.common_share=0.2", "data.val_images=16", "data.test_images=16",
    "tracking.gallery_images=0", "tracking.histogram_images=false",
)  # fmt: skip


def opened(folder: Path, *overrides: str) -> tuple[Config, DataSet]:
    config = make_config(*SMALL, f"output_root={folder}", *overrides)
    return config, open_cached(config)


def test_first_without_the_new_defect_of_which_nothing_is_known(tmp_path):
    config, whole = opened(tmp_path, "arrival.step=1")
    part = part_of(config, whole)
    kept = [name for name, held in zip(whole.train.names, whole.train.labels, strict=True) if not held[1]]
    assert part.train.names == kept
    masks = np.asarray(part.train.masks[:])
    assert (masks[..., 1] == VOID).all()
    assert set(np.unique(masks[..., 0])) == {0, 1}
    assert (part.epoch_images, part.splits["test"]) == (len(whole.train), whole.splits["test"])


def test_then_some_images_of_it_annotated_for_it_alone(tmp_path):
    config, whole = opened(tmp_path, "arrival.images=3", "arrival.memory=0.5")
    new, old = arrived(config, whole)
    assert len(new) == 3
    assert len(old) == round(0.5 * (~whole.train.labels[:, 1]).sum())
    part = part_of(config, whole)
    is_new = np.array([name in {whole.train.names[i] for i in new} for name in part.train.names])
    assert (is_new.sum(), len(part.train)) == (3, 3 + len(old))
    assert part.train.labels[is_new].tolist() == [[False, True]] * 3
    for index in np.flatnonzero(is_new):
        assert (part.train.masks[int(index)][..., 0] == VOID).all()
        assert (part.train.masks[int(index)][..., 1] == 1).any()
    known = np.asarray(part.train.masks[np.flatnonzero(~is_new)])
    assert not (known == VOID).any()
    assert not (known[..., 1] == 1).any()
    again = pickle.loads(pickle.dumps(part.train))  # for a loader process
    np.testing.assert_array_equal(np.asarray(again.masks[:]), np.asarray(part.train.masks[:]))


def test_or_annotated_for_all(tmp_path):
    config, whole = opened(tmp_path, "arrival.annotated=all")
    part = part_of(config, whole)
    assert not (np.asarray(part.train.masks[:]) == VOID).any()
    assert part.train.labels[:, 0].sum() == whole.train.labels[:, 0].sum()


def test_the_seed_chooses_and_more_new_images_hold_the_fewer(tmp_path):
    config, whole = opened(tmp_path, "arrival.images=3")
    more, other = copy.deepcopy(config), copy.deepcopy(config)
    more.arrival.images, other.seed = 6, 5
    assert set(arrived(config, whole)[0]) <= set(arrived(more, whole)[0])
    assert set(arrived(config, whole)[0]) != set(arrived(other, whole)[0])


def test_both_steps_together_spend_what_a_run_from_scratch_does():
    config = make_config(*SMALL, "budget.compute=10", "arrival.at=0.3")
    scratch = make_config(*SMALL, "budget.compute=10", "arrival.at=0.3", "arrival.start=scratch")
    assert budget_of(first_step(config)).compute == pytest.approx(3)
    assert budget_of(config).compute == pytest.approx(7)
    assert budget_of(scratch).compute == 10


def test_all_ways_to_go_on_share_the_first_step():
    ways = (
        ["selection=balanced"],
        ["selection=selective", "defects=all", "beta=b8", "staleness=stale_smart"],
    )
    ways += (["arrival.memory=0.1", "arrival.images=2"], ["upsampling=rare"])
    firsts = {fingerprint(first_step(make_config(*SMALL, *way))) for way in ways}
    assert len(firsts) == 1
    assert fingerprint(first_step(make_config(*SMALL, "seed=1"))) not in firsts


def test_a_run_goes_on_from_the_first_step_and_says_what_it_forgot(tmp_path, caplog):
    config = make_config(*SMALL, f"output_root={tmp_path}", run_dir=str(tmp_path / "run"))
    with caplog.at_level(logging.INFO, logger="sbp"):
        run(config, {}, {}, Progress())
        again = make_config(
            *SMALL, f"output_root={tmp_path}", "arrival.memory=0", run_dir=str(tmp_path / "naive")
        )
        run(again, {}, {}, Progress())
    assert caplog.text.count("training what was there before broken") == 1
    before, last, naive = read_runs(open_store(None, str(tmp_path)), "sbp")
    old = before.last("test/map/scratch")
    for later in (last, naive):
        assert later.last("before/scratch") == old
        assert later.last("forgetting/scratch") == pytest.approx(old - later.last("test/map/scratch"))
        assert later.last("forgetting") == later.last("forgetting/scratch")
        assert "forgetting/broken" not in later.metrics


def test_what_is_lost_is_the_mean_over_the_old_defects(tmp_path):
    class Data:
        defects = ("a", "b", "new")

    class Trainer:
        data, last = Data, EpochRecord(3, {"val/map": 0.0}, None)

    maps = {"test/map": 0.5, "test/map/a": 0.6, "test/map/b": 0.4, "test/map/new": 0.0}
    Measured(tmp_path).on_fit_end(Trainer, EpochRecord(3, dict(maps), None))
    assert json.loads((tmp_path / "measured.json").read_text())["test/map/a"] == 0.6
    config = make_config(*SMALL)
    config.arrival.defect = "new"
    after = EpochRecord(3, {"test/map": 0.5, "test/map/a": 0.1, "test/map/b": 0.5, "test/map/new": 0.9}, None)
    Forgetting(config, tmp_path).on_fit_end(Trainer, after)
    assert after.metrics["forgetting/a"] == pytest.approx(0.5)
    assert after.metrics["forgetting/b"] == pytest.approx(-0.1)
    assert after.metrics["forgetting"] == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["arrival.defect=dent"], "arrival.defect=dent: must be one of scratch, broken"),
        (["arrival.memory=2"], "arrival.memory=2.0: must be between 0 and 1"),
        (["arrival.at=1"], "arrival.at=1.0: must be between 0 and 1"),
        (["arrival.step=3"], "arrival.step=3: must be 1 or 2"),
        (["arrival.start=late"], "arrival.start=late: must be one of first_step, scratch"),
        (
            ["budget.compute=null", "budget.epochs=2"],
            "arrival.at divides budget.compute, which must be given",
        ),
    ],
)
def test_what_cannot_be_is_said_in_one_line(overrides, message):
    with pytest.raises(UserError) as raised:
        make_config(*SMALL, *overrides)
    assert message in str(raised.value)


def test_more_new_images_than_there_are_is_said_before_anything_is_trained(tmp_path):
    config = make_config(
        *SMALL, f"output_root={tmp_path}", "arrival.images=50", run_dir=str(tmp_path / "run")
    )
    with pytest.raises(
        UserError, match=r"arrival\.images=50: must be at most 8, as many training images hold broken"
    ):
        run(config, {}, {}, Progress())
    assert not (tmp_path / "steps").exists()
