"""Sweeps as jobs of a real SLURM, on a cluster of one node that the tests start."""

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.engines import slurm
from tests.engines.sweeps import (
    Sweep,
    assert_whole,
    folders,
    kill_worker,
    parent,
    recorded,
    running,
    said_by_jobs,
)

if lacking := slurm.missing():
    pytest.skip(f"SLURM is not installed: no {', '.join(lacking)}", allow_module_level=True)
pytest.importorskip("submitit", reason="the extra 'slurm' is not installed")

LAUNCHER = ("hydra/launcher=slurm", "hydra.launcher.cpus_per_task=1", "hydra.launcher.mem_gb=1")

LONGER = "budget.compute=20"
"""Runs that are not over before a command of SLURM reaches them."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[dict[str, str]]:
    with slurm.cluster() as environment:
        yield environment


def queue(environment: dict[str, str], *states: str) -> list[str]:
    """The numbers of jobs in the queue, of those in the given states, if any."""
    wanted = [f"--states={','.join(states)}"] if states else []
    command = ["squeue", "--array", "--noheader", "--format=%i", *wanted]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.split()


def job_in(folder: Path) -> str:
    """The SLURM job that trains in a folder."""
    return yaml.safe_load((folder / ".hydra" / "hydra.yaml").read_text())["hydra"]["job"]["id"]


def warn(folder: Path, environment: dict[str, str]) -> None:
    """The signal with which SLURM warns a job. scancel fails if the job has left its node by the time that it
    asks again, which it does."""
    subprocess.run(["scancel", "--signal=USR2", job_in(folder)], env=environment)


@pytest.mark.parametrize("end", ["SIGKILL", "scancel"])
def test_a_sweep_with_a_killed_job_trains_the_others_and_a_second_start_only_that_one(cluster, tmp_path, end):
    with running(Sweep(tmp_path, *LAUNCHER, LONGER, environment=cluster)) as first:
        first.wait_for(lambda: len(folders(tmp_path)) > 1)
        victim = folders(tmp_path)[1]
        if end == "SIGKILL":
            kill_worker(victim)
        else:
            subprocess.run(["scancel", job_in(victim)], env=cluster, check=True)
        assert first.wait() == 1, first.said
    assert "sbp: 1 of 4 jobs failed" in first.said
    assert "ended without a result: " + ("FAILED" if end == "SIGKILL" else "CANCELLED") in first.said
    assert "Traceback" not in first.said
    before = recorded(tmp_path)
    statuses = {seed: run.status for seed, run in before.items()}
    (hurt,) = [seed for seed, status in statuses.items() if status != "FINISHED"]
    assert statuses[hurt] == ("RUNNING" if end == "SIGKILL" else "KILLED")
    assert parent(tmp_path).info.status == "FAILED"

    with running(Sweep(tmp_path, *LAUNCHER, LONGER, environment=cluster)) as second:
        assert second.wait() == 0, second.said
    assert_whole(tmp_path)
    assert said_by_jobs(tmp_path, "finished before, taken from MLflow") == 3
    assert said_by_jobs(tmp_path, "resumes in") == 1
    after = recorded(tmp_path)
    assert {seed: run.run_id for seed, run in after.items()} == {s: run.run_id for s, run in before.items()}
    assert after[hurt].folder == victim


def test_what_the_cluster_cannot_give_is_one_line(cluster, tmp_path):
    with running(Sweep(tmp_path, *LAUNCHER, "hydra.launcher.mem_gb=100000", environment=cluster)) as sweep:
        assert sweep.wait() == 2
    assert "sbp: hydra/launcher=slurm: sbatch: error: Memory specification can not be satisfied" in sweep.said
    assert "Traceback" not in sweep.said


@pytest.mark.parametrize("how", ["warned", "requeued"])
def test_a_job_that_goes_back_into_the_queue_resumes_there(cluster, tmp_path, how):
    """Its time is nearly up, of which SLURM warns with SIGUSR2, or the cluster needs its node."""
    with running(Sweep(tmp_path, *LAUNCHER, LONGER, environment=cluster)) as sweep:
        sweep.wait_for(lambda: len(folders(tmp_path)) > 0)
        victim = folders(tmp_path)[0]
        if how == "warned":
            warn(victim, cluster)
        else:
            subprocess.run(["scontrol", "requeue", job_in(victim)], env=cluster, check=True)
        assert sweep.wait() == 0, sweep.said
    assert_whole(tmp_path)
    assert said_by_jobs(tmp_path, "resumes in") == 1


def test_a_job_whose_time_is_up_too_often_is_named_and_resumes_with_the_next_start(cluster, tmp_path):
    # in jobs of less than ten minutes, every warning is about their time
    once = (*LAUNCHER, LONGER, "hydra.launcher.max_num_timeout=0", "hydra.launcher.timeout_min=8")
    with running(Sweep(tmp_path, *once, environment=cluster)) as first:
        first.wait_for(lambda: len(folders(tmp_path)) > 0)
        victim = folders(tmp_path)[0]
        warn(victim, cluster)
        assert first.wait() == 1, first.said
    assert "timed-out too many times" in first.said
    assert [run.status for run in recorded(tmp_path).values()].count("KILLED") == 1
    with running(Sweep(tmp_path, *once, environment=cluster)) as second:
        assert second.wait() == 0, second.said
    assert_whole(tmp_path)


def test_a_sweep_that_is_stopped_takes_its_jobs_out_of_the_queue(cluster, tmp_path):
    with running(Sweep(tmp_path, *LAUNCHER, LONGER, environment=cluster)) as first:
        first.wait_for(lambda: len(folders(tmp_path)) > 1)
        assert len(queue(cluster)) == 4
        first.process.send_signal(signal.SIGTERM)
        assert first.wait() == 143
        for _ in range(200):
            if not queue(cluster):
                break
            subprocess.run(["sleep", "0.2"])
    assert queue(cluster) == []
    assert {run.status for run in recorded(tmp_path).values()} == {"KILLED"}
    with running(Sweep(tmp_path, *LAUNCHER, LONGER, environment=cluster)) as second:
        assert second.wait() == 0, second.said
    assert_whole(tmp_path)
    assert said_by_jobs(tmp_path, "resumes in") == 2
