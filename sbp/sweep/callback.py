"""The sweep as a run of its own in MLflow: opened before its jobs, which become its children."""

import atexit
import hashlib
import json
import os
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from sbp.run.results_version import RESULTS_VERSION
from sbp.sweep.processes import announce_sweep
from sbp.tracking.runs import open_parent
from sbp.tracking.store import artifact_location, experiment_id, open_store, unreachable_as_warning

FAILURE = "failure.txt"
"""A job that fails leaves its line in this file of its folder."""

failed_jobs: list[str] = []
"""The lines of the jobs that failed in the last sweep of this process."""


class SweepParent(Callback):
    """Opens the parent run, hands its id to the jobs as an override, and closes it with table and figure.

    An exception in a Hydra callback is only a warning and the sweep continues, so nothing is validated here.
    When a job ends in an unforeseen error, Hydra skips on_multirun_end: the parent is then closed at exit.
    """

    def __init__(self) -> None:
        self.parent: str | None = None

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        announce_sweep()
        tracking = config.tracking
        if tracking.name == "none":
            return
        self.client = open_store(tracking.uri, config.output_root)
        name, key = sweep_name(config), sweep_key(config)
        tags = {
            "section": config.section or "",
            "scale": config.scale.name,
            "sweep": Path(str(config.hydra.sweep.dir)).name,
            "results.version": RESULTS_VERSION,
        }
        location = artifact_location(config.output_root) if tracking.uri is None else None
        with unreachable_as_warning("the sweep's runs will not be nested under a parent"):
            experiment = experiment_id(self.client, tracking.experiment, location)
            self.parent = open_parent(self.client, experiment, name, key, tags)
        if self.parent is None:
            return
        self.experiment = tracking.experiment
        self.owner = os.getpid()
        config.hydra.overrides.task.append(f"tracking.parent={self.parent}")
        atexit.register(self._close, "FAILED")

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        failed_jobs[:] = failures(config.hydra.sweep.dir)
        if self.parent is None:
            return
        from sbp.sweep.summary import log_summary  # with matplotlib

        try:
            with unreachable_as_warning("the sweep's table is missing there"):
                log_summary(self.client, self.experiment, self.parent, Path(str(config.hydra.sweep.dir)))
        finally:
            self._close("FAILED" if failed_jobs else "FINISHED")

    def _close(self, status: str) -> None:
        if self.parent is not None and os.getpid() == self.owner:  # not in a forked or pickled copy
            parent, self.parent = self.parent, None
            with unreachable_as_warning("the sweep stays open there"):
                self.client.set_terminated(parent, status)

    def __getstate__(self) -> dict[str, Any]:
        return {"parent": None}  # jobs in other processes get a copy, which has nothing to close


def failures(sweep_dir: str | Path) -> list[str]:
    """The lines that failed jobs of a sweep left behind."""
    return [path.read_text().strip() for path in sorted(Path(str(sweep_dir)).glob(f"*/{FAILURE}"))]


def _overrides(config: DictConfig) -> list[str]:
    """What tells this sweep from others: its own parameters and the command line, without seeds."""
    params = OmegaConf.to_container(config.hydra.sweeper, resolve=False).get("params") or {}  # type: ignore[union-attr]
    given = [str(o) for o in config.hydra.overrides.task]
    return [
        o
        for o in [*(f"{k}={v}" for k, v in params.items()), *given]
        if not o.lstrip("+").startswith(
            ("seed=", "tags.", "experiment=", "if_exists=", "tracking.parent=", "hydra")
        )
    ]


def sweep_name(config: DictConfig) -> str:
    """What the UI shows for the parent."""
    if config.section:
        return f"{config.section} / {config.scale.name}"
    return "sweep " + (" ".join(_overrides(config)) or "seeds")


def sweep_key(config: DictConfig) -> str:
    """Equal for the same sweep started again, also with other seeds: its runs belong to one parent."""
    parts = [RESULTS_VERSION, config.section, config.scale.name, sorted(_overrides(config))]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]
