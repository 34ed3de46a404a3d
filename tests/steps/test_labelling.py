"""Active learning: rounds that build on each other, as runs."""

import csv
import json
import logging
from pathlib import Path

import numpy as np
import pytest

from sbp.build.data import open_cached
from sbp.errors import UserError
from sbp.run.fingerprint import fingerprint
from sbp.run.prepared import Prepared
from sbp.steps import earlier, run
from sbp.steps.labelling import Round, first_images, round_metrics
from sbp.tracking.runs import read_runs
from sbp.tracking.store import open_store
from sbp.utils.progress import Progress
from tests.conftest import make_config

SMALL = (
    "model.encoder_depth=3", "model.decoder_channels=[16,8,8]", "budget.compute=0.5", "selection=balanced",
    "data.val_images=16", "data.test_images=16", "labelling.start=16", "labelling.images=4",
    "labelling.round=2", "tracking.gallery_images=0", "tracking.histogram_images=false",
)  # fmt: skip


def started(folder: Path, *overrides: str, name: str = "run") -> Path:
    """The folder of a finished run."""
    config = make_config(*SMALL, f"output_root={folder}", *overrides, run_dir=str(folder / name))
    run(config, {}, {}, Progress())
    return folder / name


def labelled(folder: Path) -> list[tuple[str, int]]:
    with (folder / "labelled.csv").open(newline="") as file:
        return [(row["image"], int(row["round"])) for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """The output folder of a run of two rounds by entropy."""
    folder = tmp_path_factory.mktemp("out")
    started(folder, "labelling.by=entropy")
    return folder


def test_each_round_adds_its_images_and_none_twice(finished):
    images = labelled(finished / "run")
    assert [sum(r == k for _, r in images) for k in range(3)] == [16, 4, 4]
    assert len({name for name, _ in images}) == 24


def test_the_last_run_knows_what_every_round_reached(finished):
    client = open_store(None, str(finished))
    runs = read_runs(client, "sbp")
    assert len(runs) == 3
    last = runs[-1]
    steps, images = last.series("labelled/images")
    assert (steps.tolist(), images.tolist()) == ([0, 1, 2], [16, 20, 24])
    maps = last.series("labelled/map")[1]
    assert last.last("labelled/area") == pytest.approx((maps[0] + 2 * maps[1] + maps[2]) / 4)
    assert maps[-1] == last.last("test/map")
    assert maps.tolist() == [r.last("test/map") for r in runs]
    for r, number in zip(runs, (16, 20, 24), strict=True):
        assert r.last("labelled/images") == number
        assert r.last("cost/baseline_epochs") == pytest.approx(0.5, abs=0.2)  # of all 64 images
    found = last.series("labelled/found/scratch")[1]
    assert (np.diff(found) >= 0).all()
    assert 0 < found[0] <= 1


def test_the_rounds_before_are_not_trained_again(finished, caplog):
    with caplog.at_level(logging.INFO, logger="sbp"):
        started(finished, "labelling.by=entropy", "labelling.round=1", name="again")
    assert "training entropy, round" not in caplog.text


def test_another_rule_shares_the_first_round_and_chooses_others(finished, caplog):
    with caplog.at_level(logging.INFO, logger="sbp"):
        other = started(finished, "labelling.by=random", "labelling.round=1", name="other")
    assert "training random" not in caplog.text
    one, two = labelled(finished / "run"), labelled(other)
    assert one[:16] == two[:16]
    assert one[16:20] != two[16:20]


def test_the_first_images_hold_every_defect():
    labels = np.zeros((500, 3), dtype=bool)
    labels[7, 0] = labels[[8, 9], 1] = labels[:50, 2] = True
    draws = [first_images(labels, 10, np.random.default_rng(seed)) for seed in range(30)]
    for images in draws:
        assert len(set(images.tolist())) == 10
        assert labels[images].any(axis=0).all()
    assert len({i for images in draws for i in images.tolist()}) > 100


def test_what_was_found_is_counted_over_all_rounds(finished):
    whole = open_cached(make_config(*SMALL, f"output_root={finished}")).train
    rounds = [Round([0, 1, 2], 3, {"labelled/map": 0.1}), Round(list(range(3, len(whole))), 5)]
    first, second = round_metrics(rounds, whole, ["scratch", "broken"])
    assert (first["labelled/images"], first["labelled/defects"]) == (3, 3)
    assert (second["labelled/images"], second["labelled/defects"]) == (len(whole), 8)
    assert second["labelled/found/scratch"] == second["labelled/found/broken"] == 1
    assert first["labelled/map"] == 0.1
    assert "labelled/map" not in second


def test_a_config_without_it_is_the_run_that_it_was():
    assert fingerprint(make_config()) == fingerprint(make_config("labelling.round=3", "arrival.memory=0.5"))
    by = [fingerprint(make_config("labelling.by=entropy", f"labelling.round={k}")) for k in (1, 2)]
    assert len({*by, fingerprint(make_config())}) == 3


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["labelling.by=best"], "labelling.by=best: must be one of entropy, healthy_loss"),
        (["labelling.by=entropy", "labelling.round=-1"], "labelling.round=-1: must be at least 0"),
        (["labelling.by=entropy", "arrival.defect=broken"], "labelling.by=entropy: one of them must be null"),
        (["labelling.by=entropy", "folds.count=3"], "labelling.by=entropy folds.count=3: must be 0"),
        (["labelling.by=entropy", "trainer.processes=2"], "trainer.processes=2: must be 1"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(overrides, message):
    with pytest.raises(UserError) as raised:
        make_config(*overrides)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["labelling.round=20"],
            "labelling.round * labelling.images = 96: must be at most the 64",
        ),
        (["labelling.start=1"], "labelling.start=1: must be at least 2, one per defect"),
    ],
)
def test_too_many_or_too_few_images_are_said_before_anything_is_trained(tmp_path, overrides, message):
    with pytest.raises(UserError, match="labelling") as raised:
        started(tmp_path, "labelling.by=random", "tracking=none", *overrides)
    assert message in str(raised.value)
    assert not (tmp_path / "steps").exists()


def test_an_earlier_run_that_was_stopped_is_trained_and_a_finished_one_is_not(tmp_path, monkeypatch):
    calls = []

    def pretend(config, choices, tags, progress, prepare=Prepared):
        calls.append(config.if_exists)
        (Path(config.run_dir) / "last.pt").touch()

    monkeypatch.setattr(earlier, "run", pretend)
    config = make_config(f"output_root={tmp_path}", run_dir=str(tmp_path / "steps/one"))
    folder = earlier.trained(config, "one")
    assert earlier.trained(config, "one") == folder
    assert calls == ["retrain"]
    (folder / "done.json").write_text(json.dumps({"fingerprint": "another"}))
    earlier.trained(config, "one")
    assert calls == ["retrain", "retrain"]
