"""Launchers: a job that ends without a result does not end its sweep.

tests/engines has the same on a real SLURM and a real Ray.
"""

import math
from types import SimpleNamespace

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.plugins import Plugins
from omegaconf import OmegaConf

from sbp.config.paths import conf_dir
from sbp.config.preflight import check_overrides
from sbp.errors import UserError
from sbp.sweep.launchers import register_launchers, submitit_jobs
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


@pytest.mark.parametrize("launcher", ["slurm", "slurm_local", "ray_cluster"])
def test_hydra_finds_our_launchers(launcher):
    register_launchers()
    with initialize_config_dir(conf_dir(), version_base="1.3"):
        cfg = compose("config", overrides=[f"hydra/launcher={launcher}"], return_hydra_config=True)
    made = Plugins.instance()._instantiate(cfg.hydra.launcher)
    assert type(made).__module__.startswith("sbp.sweep.launchers")


@pytest.mark.parametrize(
    ("launcher", "extra"), [("slurm", "slurm"), ("slurm_local", "slurm"), ("ray_cluster", "ray")]
)
def test_a_launcher_whose_extra_is_not_installed_is_one_line(launcher, extra, monkeypatch):
    monkeypatch.setattr("sbp.config.engines.find_spec", lambda module: None)
    with pytest.raises(UserError, match=rf"^hydra/launcher={launcher}: needs .*sbp\[{extra}\]'$"):
        check_overrides(["-m", f"hydra/launcher={launcher}", "seed=0,1"])


@pytest.mark.slow
def test_a_machine_without_slurm_is_one_line(tmp_path):
    with running(Sweep(tmp_path, "hydra/launcher=slurm", environment={"PATH": ""})) as sweep:
        assert sweep.wait() == 2, sweep.said
    assert sweep.said.splitlines()[-1].startswith('sbp: hydra/launcher=slurm: Could not detect "srun"')
    assert "Traceback" not in sweep.said
    assert parent(tmp_path).info.status == "FAILED"


@pytest.mark.slow
def test_a_sweep_whose_job_is_killed_trains_the_others_and_a_second_start_only_that_one(tmp_path):
    with running(Sweep(tmp_path, "hydra/launcher=slurm_local")) as first:
        first.wait_for(lambda: len(folders(tmp_path)) > 1)
        victim = folders(tmp_path)[1]
        kill_worker(victim)
        assert first.wait() == 1, first.said
    assert "sbp: 1 of 4 jobs failed" in first.said
    assert "ended without a result" in first.said
    assert "Traceback" not in first.said
    before = recorded(tmp_path)
    assert sorted(run.status for run in before.values()) == ["FINISHED"] * 3 + ["RUNNING"]
    with running(Sweep(tmp_path, "hydra/launcher=slurm_local")) as second:
        assert second.wait() == 0, second.said
    assert_whole(tmp_path)
    assert said_by_jobs(tmp_path, "finished before, taken from MLflow") == 3
    assert said_by_jobs(tmp_path, "resumes in") == 1
    after = recorded(tmp_path)
    assert {seed: run.run_id for seed, run in after.items()} == {s: run.run_id for s, run in before.items()}


class Clock:
    """Time that passes only while somebody sleeps. at: what happens at which second."""

    def __init__(self, at):
        self.now, self.at = 0.0, at

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        for moment in [moment for moment in self.at if moment <= self.now]:
            self.at.pop(moment)()


@pytest.fixture
def jobs(tmp_path):
    """Two SLURM jobs as submitit knows them."""

    def job(name: str) -> SimpleNamespace:
        files = SimpleNamespace(result_pickle=tmp_path / f"{name}.pkl", stderr=tmp_path / f"{name}.err")
        return SimpleNamespace(job_id=name, paths=files)

    return [job("7_0"), job("7_1")]


def waited_s(jobs, monkeypatch, at, in_queue) -> float:
    clock = Clock(at)
    monkeypatch.setattr(submitit_jobs, "time", clock)
    monkeypatch.setattr(submitit_jobs, "in_queue", in_queue)
    submitit_jobs.SlurmLauncher()._wait(jobs)
    return clock.now


def test_a_job_is_waited_for_as_long_as_the_queue_has_it(jobs, monkeypatch):
    at = {30: jobs[0].paths.result_pickle.touch, 300: jobs[1].paths.result_pickle.touch}
    assert waited_s(jobs, monkeypatch, at, lambda: {"7_0", "7_1"}) == 300


def test_a_job_that_left_the_queue_without_a_result_is_given_up_soon(jobs, monkeypatch):
    at = {30: jobs[0].paths.result_pickle.touch}
    assert 30 <= waited_s(jobs, monkeypatch, at, lambda: {"7_0"}) <= 60


def test_a_cluster_that_does_not_answer_says_nothing_about_jobs(jobs, monkeypatch):
    at = {30: jobs[0].paths.result_pickle.touch, 500: jobs[1].paths.result_pickle.touch}
    assert waited_s(jobs, monkeypatch, at, lambda: None) == 500


def test_a_job_that_goes_back_into_the_queue_is_waited_for(jobs, monkeypatch):
    queue = {"7_0", "7_1"}
    at = {
        12: lambda: queue.discard("7_1"),
        21: lambda: queue.add("7_1"),
        100: jobs[0].paths.result_pickle.touch,
        200: jobs[1].paths.result_pickle.touch,
    }
    assert waited_s(jobs, monkeypatch, at, lambda: queue) == 200


def test_a_lost_job_leaves_a_line_in_its_folder_and_a_result_that_is_nan(jobs, tmp_path, monkeypatch):
    monkeypatch.setattr(submitit_jobs, "end_state", lambda name: "OUT_OF_MEMORY")
    launcher = submitit_jobs.SlurmLauncher()
    launcher.config = OmegaConf.create({"hydra": {"sweep": {"dir": str(tmp_path)}}})
    job = {"override_dirname": "seed=3", "num": None}
    composed = OmegaConf.create({"hydra": {"job": job, "sweep": {"subdir": "${hydra.job.num}"}}})
    loader = SimpleNamespace(load_sweep_config=lambda config, overrides: composed)
    launcher.context = SimpleNamespace(config_loader=loader)
    result = launcher._result(jobs[1], ["seed=3"], 5)
    assert math.isnan(result.return_value)
    line = (tmp_path / "5" / "failure.txt").read_text()
    assert line.startswith("seed=3: its slurm job 7_1 ended without a result: OUT_OF_MEMORY (see ")
