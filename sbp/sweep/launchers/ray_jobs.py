"""Jobs of a sweep as tasks of a Ray cluster: one that is running, or one that Ray starts on this machine."""

import contextlib
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, filter_overrides, run_job, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict

from sbp.sweep.launchers.lost import lost_job
from sbp.sweep.launchers.refused import refusal_as_line
from sbp.utils import signals

HANDED_ON = ("SBP_", "MLFLOW_")
"""Environment variables that jobs need too: the workers of a running cluster do not have them."""

log = logging.getLogger(__name__)


class RayLauncher(Launcher):
    """Starts a task per job and gives a result for each, see `lost_job`. A task whose worker dies is started
    again by Ray, `remote.max_retries` times; its run resumes.

    ray: init, the arguments of `ray.init`, and remote, those of `ray.remote`.
    """

    def __init__(self, ray: DictConfig) -> None:
        self.settings = ray

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.context, self.task, self.config = hydra_context, task_function, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        import ray

        setup_globals()
        init, remote = (_given(self.settings[part]) for part in ("init", "remote"))
        folder = Path(str(self.config.hydra.sweep.dir))
        folder.mkdir(parents=True, exist_ok=True)
        if not ray.is_initialized():
            with refusal_as_line(self.config, ConnectionError, RuntimeError, TypeError, ValueError):
                ray.init(**init)
            signals.install()  # Ray has put its own handlers in their place
        start = ray.remote(**remote)(run_there)
        environment = {name: value for name, value in os.environ.items() if name.startswith(HANDED_ON)}
        environment["SBP_OUTPUT"] = str(self.config.output_root)
        log.info("tasks of Ray: %d, sweep's folder: %s", len(job_overrides), folder)
        jobs = []
        for number, overrides in enumerate(job_overrides, initial_job_idx):
            log.info("\t#%d : %s", number, " ".join(filter_overrides(overrides)))
            config = self.context.config_loader.load_sweep_config(self.config, list(overrides))
            with open_dict(config):
                config.hydra.job.id = f"job_id_for_{number}"
                config.hydra.job.num = number
            state = Singleton.get_state()
            task = start.remote(environment, os.getcwd(), self.context, config, self.task, state)
            jobs.append((task, overrides, number))
        return [self._result(*job) for job in jobs]

    def _result(self, task: Any, overrides: Sequence[str], number: int) -> JobReturn:
        import ray

        try:
            return ray.get(task)
        except ray.exceptions.RayError as error:
            said = str(error).strip().splitlines()
            reason = f"its Ray task ended without a result: {type(error).__name__}: {said[0] if said else ''}"
            return lost_job(self.context, self.config, overrides, number, reason)


def _given(settings: DictConfig) -> dict[str, Any]:
    """The arguments that are not null."""
    values = cast(dict[str, Any], OmegaConf.to_container(settings, resolve=True))
    return {key: value for key, value in values.items() if value is not None}


def run_there(
    environment: Mapping[str, str],
    folder: str,
    context: HydraContext,
    config: DictConfig,
    task_function: TaskFunction,
    state: dict[type, Singleton],
) -> JobReturn:
    """One job, in a worker of Ray. environment, folder: those of the process that started the sweep."""
    os.environ.update(environment)
    with contextlib.suppress(OSError):  # another machine may lack it
        os.chdir(folder)
    setup_globals()
    Singleton.set_state(state)
    HydraConfig.instance().set_config(config)
    return run_job(
        hydra_context=context,
        task_function=task_function,
        config=config,
        job_dir_key="hydra.sweep.dir",
        job_subdir_key="hydra.sweep.subdir",
    )
