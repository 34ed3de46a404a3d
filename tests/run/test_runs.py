"""Real runs in processes of their own, as users start them, read back from MLflow and used afterwards."""

import itertools
import json
import os
import re
import signal
from pathlib import Path

import cv2
import numpy as np
import pytest

from sbp.metrics.tasks import task_of_metrics
from sbp.tracking.runs import RecordedRun, read_runs
from sbp.tracking.store import open_store
from tests.conftest import ROOT
from tests.processes import command, sbp, start

DEFECTS = ("scratch", "broken")
EVERY_EPOCH = [
    "train/loss",
    "train/lr",
    "train/kept_fraction",
    "train/share/healthy",
    "train/share/several",
    "cost/baseline_epochs",
    "cost/flops",
    "cost/scored_fraction",
    "time/epoch_s",
    "time/scoring_s",
    "time/training_s",
    "time/validation_s",
    "time/data_s",
    "val/map",
    "val/pixel_ap",
    "val/loss",
    "val/clean_map",
    *(f"train/share/{d}" for d in DEFECTS),
    *(f"val/{metric}/{d}" for metric in ("map", "pixel_ap", "loss", "clean_map") for d in DEFECTS),
]


@pytest.fixture(scope="module")
def runs(sweep) -> list[RecordedRun]:
    """The four runs of the README's sweep."""
    return read_runs(open_store(None, sweep), "sbp")


def test_a_sweep_leaves_one_finished_run_per_combination(runs):
    assert [run.status for run in runs] == ["FINISHED"] * 4
    found = {(run.params["aggregation"], run.params["beta"]) for run in runs}
    assert found == set(itertools.product(("max", "mean"), ("2", "8")))
    assert {(run.params["beta"], run.params["resolved.beta"]) for run in runs} == {("2", "2"), ("8", "8")}
    assert len({run.name for run in runs}) == 4
    assert len({run.tags["sweep"] for run in runs}) == 1


def test_every_metric_is_there_at_every_epoch(runs):
    for run in runs:
        steps = run.metrics["train/loss"][0]
        assert steps.tolist() == list(range(len(steps)))
        assert len(steps) >= 4
        for key in EVERY_EPOCH:
            assert key in run.metrics, key
            assert run.metrics[key][0].tolist() == steps.tolist(), key


def test_a_run_spends_its_budget_and_no_more_than_one_batch_over(runs):
    for run in runs:
        cost = run.values("cost/baseline_epochs")
        assert (np.diff(cost) > 0).all()
        assert 3 - 0.75 < cost[-1] <= 3 + 16 / 64


def test_params_hold_the_whole_config_and_tags_the_origin(runs):
    run = runs[0]
    for key in (
        "seed",
        "beta.value",
        "optimizer.lr",
        "data.rare_share",
        "model.encoder",
        "staleness",
        "scale",
    ):
        assert key in run.params
    for key in (
        "git.commit",
        "git.dirty",
        "hardware.cpu",
        "version.torch",
        "model.gflops_per_image",
        "run_dir",
    ):
        assert run.tags[key]


def test_histograms_are_logged_as_images_with_a_step_as_data_and_as_ridges(sweep, runs):
    client = open_store(None, sweep)
    for run in runs:
        scored = run.metrics["cost/scored_fraction"][0][run.values("cost/scored_fraction") > 0]
        names = " ".join(f.path for f in client.list_artifacts(run.run_id, "images"))
        steps = {int(step) for step in re.findall(r"loss_hist.step.(\d+).timestamp", names)}
        assert steps == set(scored.tolist())
        data = np.load(run.folder / "loss_histograms.npz")
        assert "edges" in data.files
        assert {f.path for f in client.list_artifacts(run.run_id, "figures")} == {
            "figures/gallery.png",
            "figures/ridge_max.png",
            "figures/ridge_mean.png",
        }


def test_the_config_the_data_set_and_the_checkpoints_are_artifacts(sweep, runs):
    client = open_store(None, sweep)
    run = client.get_run(runs[0].run_id)
    assert run.inputs.dataset_inputs[0].dataset.name == "inspection"
    files = {f.path for f in client.list_artifacts(runs[0].run_id)}
    assert {"config.yaml", "epochs.jsonl", "checkpoints", "figures", "histograms", "images"} <= files
    lines = (runs[0].folder / "epochs.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == list(range(len(lines)))


@pytest.mark.slow
def test_the_same_job_alone_gives_the_same_numbers_as_in_the_sweep(runs, tmp_path):
    done = sbp("aggregation=mean", "beta=b8", "scale=smoke", output=tmp_path)
    assert done.returncode == 0, done.stderr
    (alone,) = read_runs(open_store(None, tmp_path), "sbp")
    (same,) = [r for r in runs if r.params["aggregation"] == "mean" and r.params["beta"] == "8"]
    for key in ("train/loss", "val/loss", "train/kept_fraction"):
        assert alone.values(key).tolist() == same.values(key).tolist()


def test_evaluate_gives_the_metrics_that_the_run_logged(sweep, runs, tmp_path):
    arguments = ("--split", "val", "--out", str(tmp_path / "val.json"))
    done = command("evaluate", str(runs[0].folder / "last.pt"), *arguments, output=sweep)
    assert done.returncode == 0, done.stderr
    (loss,) = [line.split() for line in done.stdout.splitlines() if line.startswith("loss")]
    assert float(loss[-1]) == pytest.approx(runs[0].last("val/loss"), abs=6e-4)
    told = json.loads((tmp_path / "val.json").read_text())["metrics"]
    assert told["val/map"] == pytest.approx(runs[0].last("val/map"), abs=1e-4)
    assert told["val/max_recall"] == pytest.approx(runs[0].last("val/max_recall"))
    assert "test/map" not in told


def test_predict_writes_masks_and_overlays_in_the_size_of_the_image(sweep, runs, tmp_path):
    pictures = tmp_path / "pictures with spaces"
    pictures.mkdir()
    for name, shape in (("a.png", (40, 50)), ("größer.jpg", (100, 64))):
        image = np.random.default_rng(0).integers(0, 255, shape).astype(np.uint8)
        cv2.imencode(Path(name).suffix, image)[1].tofile(pictures / name)
    done = command(
        "predict",
        str(runs[0].folder / "best.pt"),
        str(pictures),
        "--out",
        str(tmp_path / "out"),
        output=sweep,
    )
    assert done.returncode == 0, done.stderr
    mask = cv2.imdecode(
        np.fromfile(tmp_path / "out/masks/scratch/größer.png", np.uint8), cv2.IMREAD_UNCHANGED
    )
    assert mask.shape == (100, 64)
    assert set(np.unique(mask)) <= {0, 255}
    assert (tmp_path / "out/overlays/a.png").is_file()
    assert "a.png  scratch" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["predict", "missing.pt", "."], "missing.pt: no such checkpoint"),
        (["evaluate", "README.md"], "README.md: not a readable checkpoint"),
    ],
)
def test_a_wrong_checkpoint_is_one_line(arguments, message, tmp_path):
    done = command(*arguments, output=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(f"sbp: {message}")
    assert done.stderr.count("\n") == 1


def test_a_mistake_on_the_command_line_stops_everything_before_it_starts(tmp_path):
    done = sbp("-m", "beta=b2,b99", "scale=smoke", output=tmp_path)
    assert done.returncode == 2
    assert done.stderr == "sbp: beta=b99: must be one of auto, b1, b16, b2, b3, b32, b4, b8\n"
    assert list(tmp_path.iterdir()) == []


def test_missing_images_are_one_line_and_leave_no_run(tmp_path):
    done = sbp("data=magnetic_tile", "data.root=nowhere", "scale=smoke", output=tmp_path)
    assert done.returncode == 2
    assert "nowhere" in done.stderr + done.stdout
    assert "Traceback" not in done.stderr + done.stdout
    assert not (tmp_path / "mlflow").exists() or read_runs(open_store(None, tmp_path), "sbp") == []


def test_a_diverging_run_is_marked_failed(tmp_path):
    done = sbp("scale=smoke", "optimizer=sgd", "optimizer.lr=1e30", output=tmp_path)
    assert done.returncode == 3
    assert "the training loss is not finite in epoch" in done.stderr + done.stdout
    (run,) = read_runs(open_store(None, tmp_path), "sbp")
    assert run.status == "FAILED"


def test_a_run_stopped_by_sigterm_is_marked_killed(tmp_path):
    process = start("sbp.train", "scale=smoke", "budget.compute=10000", output=tmp_path, log=tmp_path / "log")
    assert process.wait_for(lambda: any(tmp_path.glob("runs/*/*/epochs.jsonl")), timeout=120)
    process.signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 143
    (run,) = read_runs(open_store(None, tmp_path), "sbp")
    assert run.status == "KILLED"
    assert len(run.values("train/loss")) >= 1


CLASSIFIERS = {
    "resnet8": ["data=mnist_small"],
    "timm": ["data=mnist_small", "model.encoder=test_resnet", "data.image_size=32"],
    "cifar": ["data=mnist_small"],
    "digits": ["data=mnist_small"],
}
"""What options that are not for segmentation go with."""


@pytest.mark.slow
def test_one_of_every_option_trains_at_smoke_scale(tmp_path):
    """Each option of the groups that tests/run/golden.py does not go through runs for an epoch or two; large
    models only take one step."""
    from sbp.build import trainer as build
    from tests.conftest import make_config

    tried = 0
    for group in ["scheduler", "defects", "beta", "augmentation", "guard", "model"]:
        for path in sorted((ROOT / "conf" / group).glob("*.yaml")):
            overrides = [f"{group}={path.stem}", f"output_root={tmp_path}"]
            if group == "model":
                overrides += ["scale.image_size=32", "trainer.batch_size=4", "budget.compute=0.1"]
            if path.stem in CLASSIFIERS:
                overrides += CLASSIFIERS[path.stem]
            tried += _short_run(build, make_config(*overrides))
    if root := os.environ.get("SBP_MAGNETIC_TILE"):
        overrides = ["data=magnetic_tile", f"data.root={root}", f"output_root={tmp_path}"]
        tried += _short_run(build, make_config(*overrides))
    assert tried >= 15


def _short_run(build, config) -> int:
    from sbp.build.data import open_cached
    from sbp.seeding import seed_everything
    from sbp.utils.progress import Progress

    seed_everything(0)
    config.budget.compute = min(config.budget.compute, 1.8)
    model = build.build_model(config, len(config.data.defects))
    records = list(build.build_trainer(config, model, open_cached(config), Progress()).epochs())
    assert np.isfinite([r.metrics["train/loss"] for r in records]).all()
    assert np.isfinite(records[-1].metrics[task_of_metrics(records[-1].metrics).validated])
    return 1


def test_a_file_in_the_way_is_one_line(tmp_path):
    (tmp_path / "cache").touch()
    done = sbp("scale=smoke", output=tmp_path)
    assert done.returncode == 2
    assert f"{tmp_path / 'cache'}: File exists" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
