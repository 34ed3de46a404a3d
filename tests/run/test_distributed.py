"""Distributed runs as users start them: torchrun, trainer.processes, in sweeps; and what ends them."""

import signal
import subprocess
import sys

import pytest

from sbp import train
from sbp.build import trainer as build
from sbp.engine.ranks import ALONE, Ranks
from sbp.errors import UserError
from sbp.run import ranks
from tests.conftest import make_config
from tests.faults.harness import (
    DISTRIBUTED,
    SMALL,
    Victim,
    epochs,
    followers,
    recorded,
    run_folders,
    some_epochs,
    wait_until_gone,
    weights,
)
from tests.processes import ROOT, sbp, surroundings


@pytest.mark.slow
def test_each_job_of_a_sweep_may_be_distributed(tmp_path):
    """Two jobs side by side, of two processes each: an MLflow run for each, and its record is complete."""
    jobs = ("-m", "seed=0,1", "hydra/launcher=parallel", "trainer.processes=2")
    done = sbp(*jobs, *SMALL, *DISTRIBUTED, output=tmp_path, SBP_JOBS="2")
    assert done.returncode == 0, done.stderr
    runs = recorded(tmp_path)
    assert [run.status for run in runs] == ["FINISHED"] * 2
    for run in runs:
        assert run.params["trainer.processes"] == "2"
        assert len(run.series("val/map")[0]) == len(run.series("train/loss")[0]) > 4
        assert "test/map" in run.metrics


@pytest.mark.slow
def test_torchrun_trains_one_run_that_one_process_takes_over(tmp_path):
    """The number of processes does not make another run."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    arguments = [*SMALL, *DISTRIBUTED, "if_exists=resume"]
    done = subprocess.run(
        [*command, "-m", "sbp.train", *arguments],
        capture_output=True, text=True, env=surroundings(tmp_path), cwd=ROOT, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(run_folders(tmp_path)) == 1
    (run,) = recorded(tmp_path)
    assert run.status == "FINISHED"
    again = sbp(*arguments, output=tmp_path)
    assert "finished before" in again.stderr + again.stdout


def test_a_sweep_under_torchrun_is_refused(monkeypatch, capsys):
    for name, value in {"RANK": "0", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "argv", ["sbp.train", "-m", "seed=0,1", *SMALL])
    with pytest.raises(SystemExit) as stopped:
        train._main()
    assert stopped.value.code == 2
    line = "sbp: -m under torchrun: a sweep starts its own processes, with trainer.processes=N\n"
    assert capsys.readouterr().err == line


@pytest.mark.slow
def test_a_stopped_run_goes_on_with_another_number_of_processes(tmp_path):
    arguments = (*DISTRIBUTED, "optimizer=sgd", "optimizer.lr=0.001", "if_exists=resume")
    whole = Victim.start(tmp_path / "whole", *arguments)
    assert whole.wait() == 0, whole.log.read_text()[-2000:]
    output = tmp_path / "stopped"
    victim = Victim.start(output, *arguments, "trainer.processes=2")
    assert victim.wait_for(lambda: some_epochs(output, 3))
    left = followers(victim.pid)
    victim.signal(signal.SIGTERM)
    assert victim.wait() == 128 + signal.SIGTERM
    assert "if_exists=resume continues from here" in victim.log.read_text()
    wait_until_gone(left)
    victim = Victim.start(output, *arguments, "trainer.processes=3")
    assert victim.wait() == 0, victim.log.read_text()[-2000:]
    (folder,), (reference,) = run_folders(output), run_folders(tmp_path / "whole")
    ours, theirs = epochs(folder), epochs(reference)
    assert [e["train/images"] for e in ours] == [e["train/images"] for e in theirs]  # the same draws
    assert [e["train/loss"] for e in ours] == pytest.approx([e["train/loss"] for e in theirs], rel=0.02)
    for key, value in weights(reference).items():
        assert weights(folder)[key].float().numpy() == pytest.approx(value.float().numpy(), abs=0.01), key
    (run,) = recorded(output)
    assert run.status == "FINISHED"


def test_what_does_not_go_together_is_said_before_anything_starts(monkeypatch):
    with pytest.raises(UserError, match=r"scoring.parallel=process: must be none with several processes"):
        ranks.check_processes(make_config("trainer.processes=2", "scoring.parallel=process"))
    config = make_config("trainer.processes=2")
    config.trainer.device = "cuda"
    with pytest.raises(
        UserError, match=r"2 processes for trainer.device=cuda: each needs a GPU, there are \d"
    ):
        ranks.check_processes(config)
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert ranks.check_processes(make_config()) == 4
    with pytest.raises(UserError, match=r"trainer.processes=2: torchrun has started 4; leave it at 1"):
        ranks.check_processes(make_config("trainer.processes=2"))


def test_each_process_has_its_own_gpu_or_its_part_of_the_cores(monkeypatch):
    assert Ranks(5, 8, local=1).device("cuda") == "cuda:1"
    assert Ranks(1, 2, local=1).device("cpu") == "cpu"
    assert ALONE.device("cuda") == "cuda"
    used = []
    monkeypatch.setattr("torch.get_num_threads", lambda: 8)
    monkeypatch.setattr("torch.set_num_threads", used.append)
    for processes, overrides in ((2, ()), (1, ()), (2, ("trainer.threads=3",))):
        build.set_threads(make_config(*overrides), processes)
    assert used == [4, 3]  # one process leaves torch its own choice
