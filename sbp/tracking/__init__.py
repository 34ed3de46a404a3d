"""Recording runs in MLflow: the only part of the package that imports mlflow."""

import contextlib
import logging
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from sbp.config import Config, flattened
from sbp.data.arrays import DataSet
from sbp.tracking.mlflow_tracker import MlflowTracker
from sbp.tracking.provenance import provenance
from sbp.tracking.runs import RecordedRun
from sbp.tracking.store import experiment_id, local_uri, masked, open_store, ui_link
from sbp.tracking.sweeps import PARENT, find_finished, join_sweep
from sbp.tracking.tracker import NullTracker, Tracker

if TYPE_CHECKING:
    from mlflow import MlflowClient as MlflowClient

__all__ = [
    "NullTracker",
    "Tracker",
    "experiment_id",
    "local_uri",
    "open_store",
    "take_over_finished",
    "tracked_run",
    "ui_link",
]

log = logging.getLogger("sbp")

# paths of one machine: no use for comparing runs, and different in every run
NO_PARAMS = (
    "run_dir",
    "output_root",
    "run_name",
    "repeat",
    "tags",
    "tracking.uri",
    "tracking.parent",
    "data.root",
)


@contextlib.contextmanager
def tracked_run(
    config: Config, choices: Mapping[str, str], data: DataSet, tags: Mapping[str, Any]
) -> Iterator[Tracker]:
    """A tracked run that always closes: FINISHED, FAILED after an exception, KILLED when interrupted.

    choices: the option chosen for each config group. Parameters are the flattened config and the choices.
    """
    if config.tracking.name == "none":
        yield NullTracker()
        return
    client = open_store(config.tracking.uri, config.output_root)
    local = config.tracking.uri is None
    experiment = experiment_id(client, config.tracking.experiment, config.output_root, local)
    tags = {**provenance(), "run_dir": config.run_dir, **tags, **_membership(config, choices)}
    tags["alone"] = str(config.alone).lower()
    if config.tracking.parent:
        tags |= {PARENT: config.tracking.parent, "sweeps": config.tracking.parent}
    if config.tracking.uri:
        tags["tracking.uri"] = masked(config.tracking.uri)
    tracker = MlflowTracker(client, experiment, config.run_name or run_name(config, choices), tags)
    status = "FAILED"
    try:
        params = {key: value for key, value in flattened(config).items() if key not in NO_PARAMS}
        tracker.log_params({**params, **choices})
        counts = {name: len(split) for name, split in data.splits.items()}
        tracker.log_data(data.name, data.digest, data.path, counts)
        yield tracker
        status = "FINISHED"
    except (KeyboardInterrupt, SystemExit):
        status = "KILLED"
        raise
    finally:
        tracker.close(status)
        if local and status == "FINISHED":
            log.info("recorded in MLflow; compare runs with: make ui, then %s", ui_link(experiment))


def take_over_finished(config: Config, choices: Mapping[str, str], fingerprint: str) -> RecordedRun | None:
    """The finished run with this fingerprint, now also counted in the config's section and sweep; None if
    there is none. A run that wants the machine alone only takes one that had it alone."""
    if config.tracking.name == "none":
        return None
    client = open_store(config.tracking.uri, config.output_root)
    run = find_finished(client, config.tracking.experiment, fingerprint, config.alone)
    if run is not None:
        join_sweep(client, run, config.tracking.parent, _membership(config, choices))
    return run


def _membership(config: Config, choices: Mapping[str, str]) -> dict[str, str]:
    """Tags that say where a run belongs: the user's own, and the arm under which a section knows it."""
    tags = dict(config.tags)
    if config.section:
        tags[f"section.{config.section}"] = choices.get("arm") or config.label or "run"
    return tags


def run_name(config: Config, choices: Mapping[str, str]) -> str:
    """What the UI shows: the choices that tell runs apart, in reading order."""
    if config.label:
        return " / ".join([config.section or config.data.name, config.label, f"seed {config.seed}"])
    if config.selection.name == "none":
        parts = ["baseline"]
    elif config.selection.name in ("selective", "per_defect"):
        focus = "+".join(config.defects.focus)
        beta = "auto" if config.beta.value is None else f"{config.beta.value:g}"
        parts = [f"{config.selection.name} {focus}", config.aggregation.name, f"beta {beta}"]
        parts.append(config.staleness.name)
    else:
        parts = [config.selection.name]
    if config.upsampling.name != "none":
        parts.append("upsampled")
    if choices.get("model", "unet_small") != "unet_small":
        parts.append(choices["model"])
    return ", ".join(parts) + f" / {config.data.name} / seed {config.seed}"
