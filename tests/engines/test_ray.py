"""Sweeps as tasks of a real Ray: one that the sweep starts, and a cluster that is running."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engines.sweeps import (
    Sweep,
    assert_whole,
    folders,
    kill_worker,
    parent,
    recorded,
    running,
    said_by_jobs,
    worker,
)

pytest.importorskip("ray", reason="the extra 'ray' is not installed")

LAUNCHER = ("hydra/launcher=ray_cluster", "hydra.launcher.ray.init.num_cpus=2")
ONCE = "hydra.launcher.ray.remote.max_retries=0"
QUIET = {"RAY_USAGE_STATS_ENABLED": "0"}
TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
"""What a cluster and those who connect to it share, since Ray asks for it."""


def test_a_sweep_with_a_killed_worker_trains_the_others_and_a_second_start_only_that_one(tmp_path):
    with running(Sweep(tmp_path, *LAUNCHER, ONCE, environment=QUIET)) as first:
        first.wait_for(lambda: len(folders(tmp_path)) > 1)
        victim, other = folders(tmp_path)[1::-1]
        assert worker(victim) != worker(other)  # two workers
        kill_worker(victim)
        assert first.wait() == 1, first.said
    assert "sbp: 1 of 4 jobs failed" in first.said
    assert "ended without a result: WorkerCrashedError" in first.said
    assert "Traceback" not in first.said
    before = recorded(tmp_path)
    statuses = {seed: run.status for seed, run in before.items()}
    (hurt,) = [seed for seed, status in statuses.items() if status != "FINISHED"]
    assert statuses[hurt] == "RUNNING"
    assert parent(tmp_path).info.status == "FAILED"

    with running(Sweep(tmp_path, *LAUNCHER, ONCE, environment=QUIET)) as second:
        assert second.wait() == 0, second.said
    assert_whole(tmp_path)
    assert said_by_jobs(tmp_path, "finished before, taken from MLflow") == 3
    assert said_by_jobs(tmp_path, "resumes in") == 1
    after = recorded(tmp_path)
    assert {seed: run.run_id for seed, run in after.items()} == {s: run.run_id for s, run in before.items()}
    assert after[hurt].folder == victim


def test_ray_itself_starts_the_job_of_a_killed_worker_again_and_it_resumes(tmp_path):
    with running(Sweep(tmp_path, *LAUNCHER, environment=QUIET)) as sweep:
        sweep.wait_for(lambda: len(folders(tmp_path)) > 1)
        kill_worker(folders(tmp_path)[0])
        assert sweep.wait() == 0, sweep.said
    assert_whole(tmp_path)
    assert said_by_jobs(tmp_path, "resumes in") == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_no_worker_outlives_its_sweep(tmp_path, number):
    with running(Sweep(tmp_path, *LAUNCHER, environment=QUIET)) as first:
        first.wait_for(lambda: len(folders(tmp_path)) > 1)
        workers = [worker(folder) for folder in folders(tmp_path)]
        first.process.send_signal(number)
        assert first.wait() == (143 if number == signal.SIGTERM else -number), first.said
    deadline = time.monotonic() + 60
    while any(map(alive, workers)) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not any(map(alive, workers))
    with running(Sweep(tmp_path, *LAUNCHER, environment=QUIET)) as second:
        assert second.wait() == 0, second.said
    assert_whole(tmp_path)
    assert said_by_jobs(tmp_path, "resumes in") == 2


def alive(number: int) -> bool:
    try:
        return Path(f"/proc/{number}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False


def test_a_cluster_that_is_not_there_is_one_line(tmp_path):
    options = ["hydra/launcher=ray_cluster", "hydra.launcher.ray.init.address=auto"]
    with running(Sweep(tmp_path, *options, environment=QUIET)) as sweep:
        assert sweep.wait() == 2, sweep.said
    assert "sbp: hydra/launcher=ray_cluster: Could not find any running Ray instance" in sweep.said
    assert "Traceback" not in sweep.said


@pytest.fixture
def address(tmp_path_factory) -> Iterator[str]:
    """A cluster of two workers that was started before, elsewhere, and knows nothing of the sweep."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SBP_", "MLFLOW_"))}
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    place = tempfile.mkdtemp(prefix="ray-", dir="/tmp")  # short, for the names of sockets
    ray = [str(Path(sys.executable).with_name("ray")), "start", "--head", "--block", "--num-cpus=2"]
    options = [f"--port={port}", f"--temp-dir={place}", "--node-ip-address=127.0.0.1"]
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    log = elsewhere / "ray.log"
    with open(log, "w") as out:
        process = subprocess.Popen(
            [*ray, *options, "--include-dashboard=false"],
            env={**kept, **QUIET, **TOKEN},
            cwd=elsewhere,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        deadline = time.monotonic() + 60
        while "Ray runtime started" not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(60)
        shutil.rmtree(place, ignore_errors=True)


def test_a_cluster_that_is_running_knows_the_sweeps_folder_store_and_bar(address, tmp_path):
    """Its workers have neither the environment nor the folder of the process that starts the sweep."""
    options = ["hydra/launcher=ray_cluster", f"hydra.launcher.ray.init.address='{address}'", ONCE]
    with running(Sweep(tmp_path, *options, environment={**QUIET, **TOKEN})) as first:
        first.wait_for(lambda: len(folders(tmp_path)) > 1)
        kill_worker(folders(tmp_path)[1])
        assert first.wait() == 1, first.said
    assert "sbp: 1 of 4 jobs failed" in first.said
    with running(Sweep(tmp_path, *options, environment={**QUIET, **TOKEN})) as second:
        assert second.wait() == 0, second.said
    assert_whole(tmp_path)
