"""Jobs of a sweep as SLURM jobs, or as processes of this machine in their place, through submitit.

What is submitted is what Hydra's own launcher for submitit would submit, by the same settings. That launcher
ends the sweep at the first job without a result, does not notice one that was killed where the cluster has no
accounting database (minutes late where it has one), and leaves its jobs in the queue when it is stopped.
"""

import logging
import subprocess
import time
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, filter_overrides
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from sbp.sweep.launchers.lost import lost_job
from sbp.sweep.launchers.refused import refusal_as_line
from sbp.utils import signals

ASK_S = 10.0
"""How often the cluster is asked for the jobs that it still has."""
GRACE_S = 10.0
"""Until a result that was written on a node is seen here."""

log = logging.getLogger(__name__)


class SubmititLauncher(Launcher):
    """Submits all jobs, waits until each is over, and gives a result for each, see `lost_job`."""

    cluster = ""

    def __init__(self, **params: Any) -> None:
        self.params = params

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        from hydra_plugins.hydra_submitit_launcher.submitit_launcher import BaseSubmititLauncher

        self.context, self.config = hydra_context, config
        self.job = BaseSubmititLauncher(**self.params)
        self.job.setup(hydra_context=hydra_context, task_function=task_function, config=config)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        numbers = range(initial_job_idx, initial_job_idx + len(job_overrides))
        jobs: list[Any] = []
        try:
            with signals.defer_signals():
                jobs = self._submit(job_overrides, numbers)
            self._wait(jobs)
        except BaseException:  # the sweep is stopped, and its jobs with it
            for job in jobs:
                job.cancel(check=False)
            raise
        return [self._result(*given) for given in zip(jobs, job_overrides, numbers, strict=True)]

    def _submit(self, job_overrides: Sequence[Sequence[str]], numbers: Sequence[int]) -> list[Any]:
        folder = Path(str(self.config.hydra.sweep.dir))
        folder.mkdir(parents=True, exist_ok=True)
        log.info("%s jobs of submitit: %d, sweep's folder: %s", self.cluster, len(numbers), folder)
        for number, overrides in zip(numbers, job_overrides, strict=True):
            log.info("\t#%d : %s", number, " ".join(filter_overrides(overrides)))
        with refusal_as_line(self.config, RuntimeError, ValueError):
            return self._executor().map_array(
                self.job,
                [list(overrides) for overrides in job_overrides],
                ["hydra.sweep.dir"] * len(numbers),
                numbers,
                [f"job_id_for_{number}" for number in numbers],
                [Singleton.get_state()] * len(numbers),
            )

    def _executor(self) -> Any:
        """submitit's, with the launcher's settings: those of one cluster only carry its name there."""
        import submitit
        from hydra_plugins.hydra_submitit_launcher.config import BaseQueueConf

        settings = dict(self.job.params)
        first = {"folder": settings.pop("submitit_folder")}
        if "max_num_timeout" in settings:
            first[f"{self.cluster}_max_num_timeout"] = settings.pop("max_num_timeout")
        executor = submitit.AutoExecutor(cluster=self.cluster, **first)
        everywhere = BaseQueueConf.__dataclass_fields__
        named = {key: key if key in everywhere else f"{self.cluster}_{key}" for key in settings}
        executor.update_parameters(**{named[key]: value for key, value in settings.items()})
        return executor

    @abstractmethod
    def _wait(self, jobs: Sequence[Any]) -> None:
        """Until each job has a result, or is over without one."""

    def _result(self, job: Any, overrides: Sequence[str], number: int) -> JobReturn:
        from submitit.core.utils import UncompletedJobError

        if job.paths.result_pickle.exists():
            try:
                return job.results()[0]
            except UncompletedJobError as error:  # with the traceback of the job
                reason = str(error).strip().rpartition("\n----------------------")[0].strip()
                reason = reason.splitlines()[-1] if reason else str(error)
        else:
            reason = f"its {self.cluster} job {job.job_id} ended without a result{self._why(job)}"
        reason += f" (see {job.paths.stderr})"
        return lost_job(self.context, self.config, overrides, number, reason)

    def _why(self, job: Any) -> str:
        """What the cluster knows of the end of a job, as an addition."""
        return ""


class LocalLauncher(SubmititLauncher):
    """Jobs are processes of this machine."""

    cluster = "local"

    def _wait(self, jobs: Sequence[Any]) -> None:
        while not all(job.done() for job in jobs):
            time.sleep(0.5)


class SlurmLauncher(SubmititLauncher):
    """Jobs are SLURM jobs."""

    cluster = "slurm"

    def _wait(self, jobs: Sequence[Any]) -> None:
        left, gone = {job.job_id: job for job in jobs}, dict[str, float]()
        asked = time.monotonic()
        while left:
            time.sleep(1)
            left = {name: job for name, job in left.items() if not job.paths.result_pickle.exists()}
            if time.monotonic() - asked >= ASK_S:
                queue, asked = in_queue(), time.monotonic()
                if queue is not None:
                    gone = {name: gone.get(name, asked) for name in left if name not in queue}
            now = time.monotonic()
            left = {name: job for name, job in left.items() if now - gone.get(name, now) < GRACE_S}

    def _why(self, job: Any) -> str:
        state = end_state(job.job_id)
        return f": {state}" if state else ""


def in_queue() -> set[str] | None:
    """The numbers of our jobs that wait or run, such as 12 and 13_0; None if the cluster does not answer."""
    said = _ask("squeue", "--me", "--array", "--noheader", "--format=%i")
    return None if said is None else set(said.split())


def end_state(name: str) -> str:
    """How a job ended: CANCELLED, TIMEOUT, OUT_OF_MEMORY ...; empty if the cluster has forgotten it."""
    said = _ask("scontrol", "--oneliner", "show", "job", name) or ""
    found = [word.removeprefix("JobState=") for word in said.split() if word.startswith("JobState=")]
    return found[0] if found else ""


def _ask(*command: str) -> str | None:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    except (OSError, subprocess.SubprocessError):
        return None
