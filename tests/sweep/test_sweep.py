"""Sweeps of experiments: parent and child runs, nothing repeated, nothing lost, their progress."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from sbp.build import data as build_data
from sbp.run.fingerprint import fingerprint
from sbp.sweep.progress import (
    JobProgress,
    State,
    _show,
    differing,
    job_name,
    read_state,
    sweep_progress,
)
from sbp.sweep.remaining import remaining
from sbp.tracking.runs import read_runs
from sbp.tracking.store import open_store
from sbp.utils.progress import IN_SWEEP
from tests.conftest import ROOT, make_config
from tests.processes import command, sbp, start

PARENT = "mlflow.parentRunId"


def all_runs(output: Path):
    client = open_store(None, output)
    return client.search_runs([e.experiment_id for e in client.search_experiments()])


def parents_of(output: Path):
    return [run for run in all_runs(output) if run.data.tags.get("sweep.parent") == "true"]


ARMS = ("arm=baseline,focus_all", "scale=smoke", "seed=0,1")
HERE = "hydra/launcher=basic"
"""One job after the other in one process: quicker than processes that have all to import first."""


@pytest.fixture(scope="module")
def grid(tmp_path_factory) -> Path:
    """The output folder of a section of two arms. Those of tests/sweep/test_reproduce.py are swept in
    processes of their own, as by default."""
    output = tmp_path_factory.mktemp("grid")
    done = sbp("-m", "experiment=two_defects", *ARMS, HERE, output=output)
    assert done.returncode == 0, done.stderr
    return output


def test_a_section_is_a_parent_run_with_its_jobs_as_children(grid):
    output = grid
    (parent,) = parents_of(output)
    assert parent.info.status == "FINISHED"
    assert parent.info.run_name == "two_defects / smoke"
    runs = read_runs(open_store(None, output), "sbp")
    assert len(runs) == 4
    assert {run.tags[PARENT] for run in runs} == {parent.info.run_id}
    assert {run.status for run in runs} == {"FINISHED"}
    assert {(run.params["arm"], run.seed) for run in runs} == {
        (arm, seed) for arm in ("baseline", "focus_all") for seed in (0, 1)
    }
    assert "two_defects / focus all, beta 8, stale_smart / seed 1" in {run.name for run in runs}


def test_jobs_lost_no_epoch(grid):
    runs = read_runs(open_store(None, grid), "sbp")
    for run in runs:
        steps = run.series("train/loss")[0]
        assert steps.tolist() == list(range(len(steps)))
        assert run.series("cost/baseline_epochs")[0].tolist() == steps.tolist()
        assert np.isfinite(run.last("test/map/scratch"))


def test_the_parent_holds_table_figure_and_description(grid):
    client = open_store(None, grid)
    (parent,) = parents_of(grid)
    assert {f.path for f in client.list_artifacts(parent.info.run_id)} == {"table.csv", "comparison.png"}
    note = parent.data.tags["mlflow.note.content"]
    assert note.count("FINISHED") == 4
    assert "| focus all, beta 8, stale_smart | 1 | FINISHED |" in note


def test_a_report_shows_the_section_and_names_what_is_missing(grid, tmp_path):
    done = command("report", "two_defects", "--scale", "smoke", "--out", str(tmp_path), output=grid)
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "report.md").read_text()
    assert "focus all, beta 8" in text
    assert "balanced by label, seed 1" in text
    assert "C13" in text
    assert list((tmp_path / "figures").glob("two-defects-1-*.png"))


def test_validation_comes_as_often_in_long_runs_as_in_short_ones(grid):
    for run in read_runs(open_store(None, grid), "sbp"):
        assert len(run.values("val/map")) <= 16
        assert run.series("val/map")[0][-1] == run.series("train/loss")[0][-1]


def test_the_same_sweep_again_trains_nothing(grid):
    output = grid
    before = {run.info.run_id for run in all_runs(output)}
    done = sbp("-m", "experiment=two_defects", *ARMS, HERE, output=output)
    assert done.returncode == 0, done.stderr
    assert {run.info.run_id for run in all_runs(output)} == before  # neither runs nor a second parent
    assert parents_of(output)[0].info.status == "FINISHED"


@pytest.mark.slow
def test_a_run_that_two_sections_share_is_trained_once_and_listed_in_both(grid):
    output = grid
    overrides = ("-m", "experiment=upsampling", "arm=focus_all,balanced", "scale=smoke", "seed=0", HERE)
    done = sbp(*overrides, output=output)
    assert done.returncode == 0, done.stderr
    runs = read_runs(open_store(None, output), "sbp", "tags.`section.upsampling` LIKE '%'")
    assert {run.params["arm"] for run in runs} == {"focus_all", "balanced"}
    (shared,) = [run for run in runs if run.params["arm"] == "focus_all"]
    assert shared.tags["section.two_defects"] == "focus_all"
    assert len(read_runs(open_store(None, output), "sbp")) == 5
    (parent,) = [p for p in parents_of(output) if p.info.run_name.startswith("upsampling")]
    assert parent.data.tags["mlflow.note.content"].count("FINISHED") == 2


@pytest.mark.slow
def test_other_seeds_of_a_section_join_the_same_parent(grid):
    output = grid
    done = sbp("-m", "experiment=two_defects", "arm=baseline", "scale=smoke", "seed=2", HERE, output=output)
    assert done.returncode == 0, done.stderr
    named = [p for p in parents_of(output) if p.info.run_name == "two_defects / smoke"]
    children = [
        run for run in all_runs(output) if run.data.tags.get(PARENT) in {p.info.run_id for p in named}
    ]
    assert len(children) >= 5


@pytest.mark.slow
def test_a_failing_job_does_not_stop_the_others_and_is_named_at_the_end(tmp_path):
    done = sbp("-m", "optimizer.lr=0.001,1e30", "optimizer=sgd", "scale=smoke", output=tmp_path)
    assert done.returncode == 1
    assert "sbp: 1 of 2 jobs failed" in done.stderr
    assert "the training loss is not finite" in done.stderr
    assert "Traceback" not in done.stderr
    runs = read_runs(open_store(None, tmp_path), "sbp")
    assert sorted(run.status for run in runs) == ["FAILED", "FINISHED"]
    assert parents_of(tmp_path)[0].info.status == "FAILED"


@pytest.mark.slow
def test_jobs_that_break_for_reasons_nobody_foresaw_do_not_stop_the_others_either(tmp_path):
    """One while its parts are built, before MLflow knows it; one while it trains."""
    hook = tmp_path / "hook.py"
    hook.write_text(
        "import sbp.build.trainer as build\n"
        "from sbp.engine.losses import DiceBce\n"
        "real = build.make\n"
        "def broken(group, config, **given):\n"
        "    if group == 'loss' and config.name == 'focal': raise RuntimeError('out of luck')\n"
        "    return real(group, config, **given)\n"
        "def torn(self, logits, target):\n"
        "    raise MemoryError('out of space')\n"
        "build.make = broken\n"
        "DiceBce.loss_map = torn\n"
    )
    done = sbp("-m", "loss=focal,dice_bce,bce", "scale=smoke", output=tmp_path, FAULT_HOOK=str(hook))
    assert done.returncode == 1
    assert "sbp: 2 of 3 jobs failed" in done.stderr
    assert "RuntimeError: out of luck (see " in done.stderr
    assert "MemoryError: out of space (see " in done.stderr
    first, second = sorted(tmp_path.glob("sweeps/*/*/*/traceback.txt"))
    assert "in broken" in first.read_text()
    assert "in torn" in second.read_text()
    statuses = {run.params["loss"]: run.status for run in read_runs(open_store(None, tmp_path), "sbp")}
    assert statuses == {"dice_bce": "FAILED", "bce": "FINISHED"}


@pytest.mark.parametrize(("gone", "code"), [(True, 143), (False, 0)])
def test_a_worker_whose_sweep_is_gone_before_its_first_job_ends_at_once(gone, code):
    """It would otherwise take whoever inherited it for its parent, and train on for nobody."""
    script = (
        "import sys, time\n"
        "from sbp.utils import signals\n"
        "from sbp.sweep.processes import stop_with_the_sweep\n"
        "signals.install()\n"
        "stop_with_the_sweep(0.1)\n"
        "time.sleep(2)\n"
    )
    owner = "999999999" if gone else str(os.getpid())
    environment = {**os.environ, "SBP_SWEEP_PID": owner}
    started = time.monotonic()
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=environment, timeout=60)
    assert done.returncode == code
    assert not gone or time.monotonic() - started < 30


# what makes two runs the same


def test_names_folders_and_threads_do_not_make_another_run():
    config = make_config()
    for override in (
        "run_name=x",
        "label=x",
        "section=x",
        "+tags.a=b",
        "trainer.threads=2",
        "exclusive=true",
        "tracking.gallery_images=0",
        "output_root=elsewhere",
    ):
        assert fingerprint(make_config(override)) == fingerprint(config), override


@pytest.mark.parametrize(
    "override",
    ["seed=1", "optimizer.lr=0.01", "beta=b2", "staleness=stale", "budget.compute=4", "loss=focal"],
)
def test_whatever_changes_a_result_makes_another_run(override):
    assert fingerprint(make_config(override)) != fingerprint(make_config())


def test_changed_images_or_splits_make_another_run_and_copied_ones_do_not(tmp_path):
    rng = np.random.default_rng(0)
    for n in range(9):
        for folder in ("images", "masks/x"):
            path = tmp_path / "a" / folder / f"{n}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), rng.integers(0, 2, (8, 8), dtype=np.uint8) * 255)

    def of(folder: str, *overrides: str) -> str:
        build_data._contents.clear()  # they are looked up once per process
        where = [f"data.root={tmp_path / folder}", f"output_root={tmp_path / 'out'}"]
        return fingerprint(make_config("data=masks", "data.defects=[x]", *where, *overrides))

    before = of("a")
    assert of("a") == before
    shutil.copytree(tmp_path / "a", tmp_path / "b", copy_function=shutil.copyfile)  # with other times
    assert of("b") == before
    split = tmp_path / "own.csv"
    assert of("b", f"data.split_file={split}") == before  # the same split, kept elsewhere
    rows = split.read_text()
    split.write_text(rows.replace("val", "?").replace("test", "val").replace("?", "test"))
    assert of("b", f"data.split_file={split}") != before
    pixels = cv2.imread(str(tmp_path / "b" / "images" / "3.png"), cv2.IMREAD_GRAYSCALE)
    cv2.imwrite(str(tmp_path / "b" / "images" / "3.png"), 255 - pixels)
    assert of("b") != before


def test_remaining_jobs_count_a_shared_run_once_and_respect_exclusive_ones():
    plain, exclusive = (make_config("tracking=none", f"exclusive={flag}") for flag in ("false", "true"))
    assert len(remaining([plain, plain])) == 1
    assert len(remaining([exclusive, plain])) == 1  # the run that had the machine to itself serves both
    assert len(remaining([plain, exclusive])) == 2


# their progress


def test_a_sweep_counts_its_jobs_and_names_what_runs(tmp_path):
    first, second, reused, broken = (
        JobProgress(tmp_path, name, interval_s=0) for name in ("first", "second", "reused", "broken")
    )
    first.begin()
    first.advance(8, 0.5)
    second.begin()
    second.close()
    reused.close()  # taken over from an earlier sweep: it is not among the jobs to train
    broken.failed()  # before it could begin
    state = read_state(tmp_path)
    assert state == State(2, 1, [("first", 0.5)])
    assert state.share(5) == 0.5
    assert state.counts(5) == "2/5 jobs, 1 failed"
    assert state.activity() == "running: first 50%"


def test_a_job_that_breaks_while_it_trains_is_over_and_failed(tmp_path):
    job = JobProgress(tmp_path, "broken", interval_s=0)
    job.begin()
    job.advance(8, 0.5)
    job.close()  # as its trainer does, however it ends
    job.failed()
    assert read_state(tmp_path) == State(1, 1, [])


JOBS = (
    ["scale=smoke", "optimizer.lr=0.001", "+tags.study=a", "seed=0"],
    ["scale=smoke", "optimizer.lr=0.001", "+tags.study=b", "seed=0"],
    ["scale=smoke", "optimizer.lr=0.1", "+tags.study=a", "seed=0"],
    ["scale=smoke", "+tags.study=a", "seed=0"],
)


def test_jobs_are_named_by_what_tells_them_apart():
    keys = differing(JOBS)
    assert keys == {"optimizer.lr", "tags.study"}
    assert [job_name(None, job, keys) for job in JOBS] == [
        "optimizer.lr=0.001 tags.study=a",
        "optimizer.lr=0.001 tags.study=b",
        "optimizer.lr=0.1 tags.study=a",
        "tags.study=a",
    ]
    arms = (["experiment=x", "arm=one", "seed=0"], ["experiment=y", "arm=two", "seed=1"])
    assert job_name("focus all", arms[1], differing(arms)) == "focus all seed=1"
    assert job_name(None, JOBS[0], differing(JOBS[:1])) == "job"


def test_arms_have_labels_of_their_own():
    """They stand for them in a sweep's bar."""
    labels = [
        line
        for path in (ROOT / "conf/arm").glob("*.yaml")
        for line in path.read_text().splitlines()
        if line.startswith("label:")
    ]
    assert len(set(labels)) == len(labels) > 10


def test_a_job_whose_process_is_gone_counts_as_failed(tmp_path):
    code = (
        "import sys\n"
        "from sbp.sweep.progress import JobProgress\n"
        "job = JobProgress(sys.argv[1], 'lost', interval_s=0)\n"
        "job.begin()\n"
        "job.advance(8, 0.3)\n"
        "sys.stdout.write('up\\n'); sys.stdout.flush(); sys.stdin.read()\n"
    )
    job = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
        text=True,
    )
    assert job.stdout.readline() == "up\n"
    assert read_state(tmp_path) == State(0, 0, [("lost", 0.3)])
    job.kill()
    job.wait()
    assert read_state(tmp_path) == State(1, 1, [])


def test_a_sweep_writes_a_line_now_and_then(tmp_path, capsys):
    job = JobProgress(tmp_path, None, ["beta=b2", "seed=1"], interval_s=0)
    job.begin()
    waits = iter([False] * 8 + [True])

    def wait(seconds: float) -> bool:
        job.advance(8, job.used + 0.1)
        return next(waits)

    _show(tmp_path, 2, {"seed"}, wait, interval_s=0)
    lines = capsys.readouterr().err.splitlines()
    assert lines[1] == " 10 % | 0/2 jobs | running: seed=1 20%"
    assert lines[-1].startswith(" 40 % | 0/2 jobs | ")
    assert lines[-1].endswith(" | running: seed=1 80%")


WATCHED = """
import contextlib
import functools
import sbp.sweep.progress as progress
import sbp.train as train
train.sweep_progress = functools.partial(progress.sweep_progress, interval_s=0.0)
"""


@pytest.mark.parametrize(
    "broken", ["while it trains", pytest.param("before it begins", marks=pytest.mark.slow)]
)
def test_the_bar_of_a_real_sweep_counts_a_failing_job_and_tells_jobs_apart(broken, tmp_path):
    hook = tmp_path / "hook.py"
    hook.write_text(
        WATCHED + "import time\n"
        "import sbp.run.execute as execute\n"
        "real = execute.open_cached\n"
        "def torn(config):\n"
        "    if config.optimizer.lr == 0.5: raise OSError('the disk is gone')\n"
        "    if config.optimizer.lr == 1e30: time.sleep(2)  # the bar looks twice a second\n"
        "    return real(config)\n"
        "execute.open_cached = torn\n"
    )
    rates = "0.001,1e30" if broken == "while it trains" else "0.5,0.001"
    done = sbp(
        "-m", f"optimizer.lr={rates}", "optimizer=sgd", "scale=smoke", output=tmp_path, FAULT_HOOK=str(hook)
    )
    assert done.returncode == 1
    lines = [line for line in done.stderr.splitlines() if " jobs" in line and "running: " in line]
    if broken == "before it begins":
        assert any("1/2 jobs, 1 failed | running: optimizer.lr=0.001 " in line for line in lines), lines
    else:
        assert any("1/2 jobs | running: optimizer.lr=1e+30 0%" in line for line in lines), lines
    assert not any("2 failed" in line for line in lines)


def test_a_sweep_inside_another_shows_nothing_of_its_own():
    with sweep_progress(2, interval_s=60):
        outer = os.environ[IN_SWEEP]
        with sweep_progress(5):
            assert os.environ[IN_SWEEP] == outer
        assert os.environ[IN_SWEEP] == outer
    assert IN_SWEEP not in os.environ
    assert not Path(outer).exists()


# eight writers


@pytest.mark.slow
def test_eight_processes_write_to_a_fresh_store_at_once_and_lose_nothing(tmp_path):
    output, names = tmp_path / "output", [f"writer {n}" for n in range(8)]
    output.mkdir()
    writers = [
        start("tests.sweep.writer", str(output), str(n), output=output, log=tmp_path / name)
        for n, name in enumerate(names)
    ]
    codes = [writer.wait(timeout=240) for writer in writers]
    errors = [writer.log.read_text() for writer in writers]
    assert codes == [0] * 8, errors
    assert "locked" not in "".join(errors)
    runs = read_runs(open_store(None, output), "sbp")
    assert sorted(run.name for run in runs) == names
    for run in runs:
        number = int(run.tags["n"])
        assert run.status == "FINISHED"
        assert len(run.params) == 150
        for i in (0, 17, 39):
            steps, values = run.series(f"metric{i}")
            assert steps.tolist() == list(range(25))
            assert values.tolist() == [number + step + i for step in range(25)]
