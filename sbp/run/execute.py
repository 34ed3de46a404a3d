"""One run: build, begin or resume, train, record."""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sbp.build import trainer as build
from sbp.build.data import open_cached
from sbp.config import Config
from sbp.data.dataset import DataSet
from sbp.data.loader import loader_errors_in_one_line
from sbp.engine.snapshot import restore
from sbp.engine.trainer import Trainer
from sbp.errors import UserError
from sbp.metrics.tasks import Task, task_of
from sbp.run.callbacks import run_callbacks
from sbp.run.callbacks.metric_log import EPOCHS
from sbp.run.fingerprint import fingerprint
from sbp.run.holdout import checked_holdout, score_with_holdout
from sbp.run.initial import initial_model
from sbp.run.prepared import Prepared
from sbp.run.ranks import check_processes, dismiss, leading
from sbp.run.results_version import RESULTS_VERSION
from sbp.run.state import check_disk_space, interrupted_runs, load_state, remove_state, unfinished
from sbp.seeding import restore_generators, seed_everything
from sbp.tracking.recording import finish_recording, take_over_finished, tracked_run
from sbp.utils import torchrun
from sbp.utils.files import disk_full_as_user_error, sole_writer
from sbp.utils.progress import Progress

log = logging.getLogger("sbp")


def run(
    config: Config,
    choices: dict[str, str],
    tags: dict[str, str],
    progress: Progress,
    prepare: Callable[[], Prepared] = Prepared,
) -> dict[str, float]:
    """One run. Returns the last epoch's metrics.

    prepare: called before anything else, unless the run is taken over; what earlier runs have left for it.

    choices: the option of each config group. Leaves config.yaml, epochs.jsonl, histograms, figures and
    the checkpoints best.pt and last.pt in config.run_dir. With config.if_exists reuse or resume, a finished
    run of the same config and code is taken from MLflow instead; with resume, an interrupted one resumes in
    its own folder. Raises UserError for what a user can mend.
    """
    identity = fingerprint(config)
    if config.if_exists in ("reuse", "resume") and (
        finished := take_over_finished(config, choices, identity)
    ):
        log.info("finished before, taken from MLflow: %s", finished.name)
        dismiss()
        return {key: finished.last(key) for key in finished.metrics if key.startswith("val/")}
    progress.begin()
    prepared = prepare()
    processes = check_processes(config)
    build.set_threads(config, torchrun.local_count(processes))
    seed_everything(config.seed)
    model = initial_model(config, prepared.init_from)
    holdout = checked_holdout(config)
    data = prepared.training_set(open_cached(config))
    build.check_defects(config.defects.focus, data)
    state = state_to_resume(config, identity) if config.if_exists == "resume" else None
    folder = Path(config.run_dir)
    with sole_writer(folder):
        check_folder(folder, state, config.if_exists == "resume")
        with (
            unfinished(config.output_root, identity, folder),
            leading(config, processes, identity if state else None) as ranks,
        ):
            trainer = build.build_trainer(config, model, data, progress, ranks)
            trainer.budget = prepared.budget or config.budget
            if holdout is not None:
                score_with_holdout(trainer, config, holdout)
            if state is None:
                check_disk_space(folder, model)
            tags = {**tags, "fingerprint": identity, "results.version": str(RESULTS_VERSION)}
            with disk_full_as_user_error(folder), loader_errors_in_one_line():
                metrics = train(config, choices, data, trainer, tags, state, prepared)
            log.info("%s", last_line(metrics, task_of(trainer.loss), folder / "best.pt"))
        remove_state(folder)
    return metrics


def last_line(metrics: Mapping[str, float], task: Task, best: Path) -> str:
    """What a run reached, and what its best model is good for."""
    keys = {"val": task.validated, "test": task.tested}
    measured = ", ".join(
        f"{split} {task.title} {metrics[key]:.3f}" for split, key in keys.items() if key in metrics
    )
    return measured + (f"; masks for images: sbp predict {best} FOLDER" if task.has_maps else f"; {best}")


def state_to_resume(config: Config, identity: str) -> dict[str, Any] | None:
    """The state of the newest interrupted run, whose folder becomes config.run_dir; None if there is none."""
    for folder in interrupted_runs(config.output_root, identity):
        if state := load_state(folder, identity):
            config.run_dir = str(folder)
            return state
    return None


def check_folder(folder: Path, state: dict[str, Any] | None, resume: bool) -> None:
    """Say what happens, or raise UserError if a run that is not resumed would be overwritten."""
    if state is not None:
        log.info("resumes in %s, epoch %d", folder, state["trainer"]["epoch"] + 1)
    elif (folder / EPOCHS).exists():
        raise UserError(
            f"{folder}: holds a run already; choose another folder with hydra.run.dir (or hydra.sweep.dir)"
        )
    elif resume:
        log.info("no interrupted run of this config, code and data to resume: it starts anew")


def train(
    config: Config,
    choices: dict[str, str],
    data: DataSet,
    trainer: Trainer,
    tags: dict[str, str],
    state: dict[str, Any] | None,
    prepared: Prepared,
) -> dict[str, float]:
    """Train and record, from the beginning or from a state. Returns the last epoch's metrics."""
    if state and finish_recording(config):
        return state["trainer"]["last"]["metrics"]
    resumed = state is not None
    with tracked_run(config, choices, data, tags, resumed) as tracker:
        measuring = prepared.callbacks(tracker)
        trainer.callbacks += run_callbacks(config, trainer, tracker, tags["fingerprint"], resumed, measuring)
        if state:
            restore(trainer, state["trainer"])
            restore_generators(state["random"])
        return trainer.fit()
