"""A run of classification from the command's config to what MLflow has of it, and one that was stopped."""

import json
import logging
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from sbp.cli.main import main
from sbp.engine.snapshot import restore, snapshot
from sbp.run.state import load_state, save_state
from sbp.steps import run
from sbp.tracking.runs import read_runs
from sbp.tracking.store import open_store
from sbp.utils.progress import Progress
from tests.conftest import make_config

STALE = ("data=mnist_small", "selection=selective", "staleness=stale_smart", "staleness.every=2")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """What a run with local tracking leaves."""
    root = tmp_path_factory.mktemp("classes")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        config = make_config(*STALE, f"output_root={root}", run_dir=str(root / "run"))
        said = logging.FileHandler(root / "said.txt")
        patch.setattr(logging.getLogger("sbp"), "handlers", [said])
        logging.getLogger("sbp").setLevel(logging.INFO)
        metrics = run(config, {"data": "mnist_small"}, {}, Progress())
        said.close()
    (root / "metrics.json").write_text(json.dumps(metrics))
    return root


def test_a_run_is_in_mlflow_with_its_accuracies(folder):
    returned = json.loads((folder / "metrics.json").read_text())
    (recorded,) = read_runs(open_store(None, str(folder)), "sbp")
    assert recorded.status == "FINISHED"
    assert recorded.defects == [str(digit) for digit in range(10)]
    for key in ("val/accuracy", "val/accuracy/7", "test/accuracy", "test/error", "best/val/accuracy"):
        assert recorded.last(key) == pytest.approx(returned[key])
    assert len(recorded.values("val/accuracy")) == len(recorded.values("train/loss")) >= 4
    assert recorded.last("train/kept_fraction") < 0.6
    assert recorded.last("scores/max/all/all/q50") > 0
    assert recorded.last("scores/max/3/3/q50") > 0
    assert recorded.last("best/val/accuracy") == max(recorded.values("val/accuracy"))
    assert not [key for key in recorded.metrics if "map" in key or "top/" in key or "healthy/q" in key]
    assert len(recorded.metrics) < 100
    assert (folder / "run" / "ridge_max.png").is_file()
    assert not (folder / "run" / "gallery.png").exists()


def test_the_links_to_the_ui_put_the_best_by_accuracy_first(folder, capsys, monkeypatch):
    monkeypatch.setattr("os.execv", lambda *_: None)
    monkeypatch.setattr(sys, "argv", ["sbp", "ui"])
    monkeypatch.setenv("SBP_OUTPUT", str(folder))
    main()
    assert "&orderByKey=metrics.%60val%2Faccuracy%60&orderByAsc=false" in capsys.readouterr().out
    assert "orderByKey=metrics.%60val%2Faccuracy%60" in (folder / "said.txt").read_text()


def test_an_epoch_between_two_passes_scores_nobody(folder):
    lines = (folder / "run" / "epochs.jsonl").read_text().splitlines()
    scored = [json.loads(line)["cost/scored_fraction"] for line in lines]
    assert scored[0] == 0
    assert 0 in scored[1:]
    assert max(scored) > 0.3


@pytest.mark.parametrize("command", ["predict", "evaluate", "mine", "review"])
def test_commands_for_segmentation_say_so(folder, command, capsys, monkeypatch):
    rest = [str(folder)] if command in ("predict", "mine") else []
    path = folder / "run" if command == "review" else folder / "run" / "best.pt"
    monkeypatch.setattr(sys, "argv", ["sbp", command, str(path), *rest])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    assert "is a model for classification; this command is for segmentation" in capsys.readouterr().err


def test_a_run_that_was_stopped_ends_as_one_that_was_not(tmp_path):
    from sbp.build import trainer as build
    from sbp.build.data import open_cached
    from sbp.seeding import seed_everything

    trainers = []
    for _ in range(2):
        config = make_config(*STALE, f"output_root={tmp_path}")
        data = open_cached(config)
        seed_everything(config.seed)
        trainers.append(build.build_trainer(config, build.build_model(config, 10), data, Progress()))
    first, second = trainers
    whole = []
    for record in first.epochs():
        whole.append(record)
        if record.epoch == 1:
            save_state(tmp_path, "me", {"trainer": snapshot(first)})
    restore(second, load_state(tmp_path, "me")["trainer"] | {"callbacks": {}})
    resumed = list(second.epochs())
    for key in ("train/loss", "val/accuracy", "val/loss"):
        np.testing.assert_array_equal([r.metrics[key] for r in resumed], [r.metrics[key] for r in whole[2:]])
    for key, value in first.model.state_dict().items():
        assert torch.equal(second.model.state_dict()[key], value), key
