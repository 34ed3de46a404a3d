"""Recording a run: from its start to its end, through the outbox, and taking over one that has finished."""

import contextlib
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sbp.config import Config, flattened, make
from sbp.data.dataset import DataSet
from sbp.errors import UserError
from sbp.metrics.tasks import TASKS
from sbp.tracking.outbox import Outbox, OutboxTracker
from sbp.tracking.provenance import provenance
from sbp.tracking.runs import PARENT, RecordedRun, find_finished, is_deleted, join_sweep
from sbp.tracking.sender import Delivery, OutboxSender
from sbp.tracking.store import (
    artifact_location,
    experiment_id,
    masked,
    open_store,
    ui_link,
    unreachable_as_warning,
)
from sbp.tracking.tracker import Tracker
from sbp.utils.signals import defer_signals

if TYPE_CHECKING:
    from mlflow import MlflowClient as MlflowClient

log = logging.getLogger("sbp")

# paths of one machine: no use for comparing runs, and different in every run
NO_PARAMS = (
    "run_dir",
    "output_root",
    "run_name",
    "if_exists",
    "tags",
    "tracking.uri",
    "tracking.parent",
    "data.root",
)


@contextlib.contextmanager
def tracked_run(
    config: Config, choices: Mapping[str, str], data: DataSet, tags: Mapping[str, Any], resumed: bool = False
) -> Iterator[Tracker]:
    """A tracked run that always closes: FINISHED, FAILED after an exception, KILLED when interrupted.

    choices: the option chosen for each config group. Parameters are the flattened config and the choices.
    resumed: the run was interrupted and stays the same MLflow run. Everything goes to the run's folder first,
    and from there to MLflow beside the training.
    """
    if config.tracking.name == "none":
        yield Tracker()
        return
    location = artifact_location(config.output_root) if config.tracking.uri is None else None
    client = experiment = None
    with unreachable_as_warning("training continues"):
        client = open_store(config.tracking.uri, config.output_root)
        experiment = experiment_id(client, config.tracking.experiment, location)
    folder = Path(config.run_dir)
    delivery = Delivery(folder, lambda: client or open_store(config.tracking.uri, config.output_root))
    outbox = Outbox(folder)
    tracker = OutboxTracker(outbox)
    outbox.rollback()
    if client and experiment and delivery.run_id and is_deleted(client, delivery.run_id):
        log.warning("this run was deleted in MLflow: it is recorded there once more")
        delivery.start_over()
    if resumed and outbox.size:
        tracker.status("RUNNING")
        tracker.set_tags(_nesting(config) | _membership(config, choices))
    else:
        _begin(tracker, config, choices, data, tags, location)
    sender = OutboxSender(delivery, config.tracking.patience_s)
    tracker.on_commit = sender.deliver
    status = "FAILED"
    try:
        yield tracker
        status = "FINISHED"
    except (KeyboardInterrupt, SystemExit):
        status = "KILLED"
        raise
    finally:
        _end(tracker, status)
        if sender.close() and experiment and location and status == "FINISHED":
            link = ui_link(experiment, TASKS[config.task].validated)
            log.info("recorded in MLflow; compare runs with: sbp ui, then %s", link)


def _begin(
    tracker: OutboxTracker,
    config: Config,
    choices: Mapping[str, str],
    data: DataSet,
    tags: Mapping[str, Any],
    location: str | None,
) -> None:
    tags = {**provenance(), "run_dir": config.run_dir, **tags, **_membership(config, choices)}
    tags["exclusive"] = str(config.exclusive).lower()
    tags |= _nesting(config)
    if config.tracking.uri:
        tags["tracking.uri"] = masked(config.tracking.uri)
    tracker.begin(config.tracking.experiment, location, config.run_name or run_name(config, choices), tags)
    params = {key: value for key, value in flattened(config).items() if key not in NO_PARAMS}
    tracker.log_params({**params, **honest_choices(config, choices)})
    counts = {name: len(split) for name, split in data.splits.items()}
    tracker.log_data(data.name, data.digest, data.path, counts)


def honest_choices(config: Config, choices: Mapping[str, str]) -> dict[str, str]:
    """The options as they came out: `beta.value=12` is beta 12, though the option is still `auto`, and
    `staleness=every_epoch staleness.every=9` is stale. So runs grouped by them are alike."""
    honest = {**choices, "staleness": make("staleness", config.staleness).name}
    if config.beta.value is not None:
        honest["beta"] = f"{config.beta.value:g}"
    return honest


def _nesting(config: Config) -> dict[str, str]:
    """Tags that put the run under its sweep."""
    parent = config.tracking.parent
    return {PARENT: parent, "sweeps": parent} if parent else {}


def finish_recording(config: Config) -> bool:
    """Whether the run in config.run_dir had finished when it was cut off while sending; sends the rest."""
    outbox = Outbox(Path(config.run_dir))
    if outbox.status != "FINISHED":
        return False
    client = open_store(config.tracking.uri, config.output_root)
    sender = OutboxSender(Delivery(Path(config.run_dir), lambda: client), config.tracking.patience_s)
    sender.deliver(outbox.committed)
    sender.close()
    return True


def _end(tracker: OutboxTracker, status: str) -> None:
    """Close the outbox; what an interrupted epoch has logged so far is taken back."""
    try:
        with defer_signals():
            if status != "FINISHED":
                tracker.outbox.rollback()
            if tracker.outbox.size:  # else the run broke off before it began: there is nothing to record
                tracker.status(status)
                tracker.commit()
    except UserError as error:  # no room even for that: the run shows as interrupted, which is true
        log.error("%s", error)


def take_over_finished(config: Config, choices: Mapping[str, str], fingerprint: str) -> RecordedRun | None:
    """The finished run with this fingerprint, now also counted in the config's section and sweep; None if
    there is none. An exclusive run only takes an exclusive one."""
    if config.tracking.name == "none":
        return None
    client, run = open_store(config.tracking.uri, config.output_root), None
    with unreachable_as_warning("it is not known whether this run has finished before"):
        run = find_finished(client, config.tracking.experiment, fingerprint, config.exclusive)
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
    budget = [] if choices.get("budget", "short") == "short" else [f"{choices['budget']} budget"]
    if config.label:
        label = ", ".join([config.label, *budget])
        return " / ".join([config.section or config.data.name, label, f"seed {config.seed}"])
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
    return ", ".join([*parts, *budget]) + f" / {config.data.name} / seed {config.seed}"
