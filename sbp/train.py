"""Train one model, or a sweep of them: `python -m sbp.train [-m] [group=option] [key=value]`.

Heavy imports happen inside the job: composing a config, shell completion and --help stay quick.
"""

import logging
import math
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from sbp.conf_path import conf_dir, register_resolvers
from sbp.config import Config, register_schemas, validated
from sbp.errors import TrainingDiverged, UserError
from sbp.preflight import check_overrides
from sbp.sweep.board import FOLDER_VARIABLE, BoardReporter, board
from sbp.sweep.callback import FAILURE, failed_jobs
from sbp.sweep.fingerprint import code_version, fingerprint
from sbp.sweep.processes import in_worker, leave_worker, stop_with_the_sweep, terminate_on_sigterm
from sbp.sweep.remaining import remaining

TRACEBACK = "traceback.txt"

log = logging.getLogger("sbp")

register_schemas()
register_resolvers()


def run(config: Config, choices: dict[str, str], tags: dict[str, str]) -> dict[str, float]:
    """One run: build, train, record. Returns the last epoch's metrics.

    choices: the option of each config group. Leaves config.yaml, epochs.jsonl, histograms, figures and
    the checkpoints best.pt and last.pt in config.run_dir. With config.repeat false, a finished run of the
    same config and code is taken from MLflow instead. Raises UserError for what a user can mend.
    """
    import torch

    from sbp import build
    from sbp.build_data import open_cached
    from sbp.run_record import RunRecord
    from sbp.tracking import take_over_finished, tracked_run

    identity = fingerprint(config)
    if not config.repeat and (finished := take_over_finished(config, choices, identity)):
        log.info("finished before, taken from MLflow: %s", finished.name)
        return {key: finished.last(key) for key in finished.metrics if key.startswith("val/")}
    if config.trainer.threads:
        torch.set_num_threads(config.trainer.threads)
    build.seed_everything(config.seed)
    model = build.build_model(config.model, config.data.channels, len(config.data.defects))
    data = open_cached(config)
    build.check_focus(config.defects.focus, data)
    progress = reporter(config)
    trainer = build.build_trainer(config, model, data, progress)
    tags = {**tags, "fingerprint": identity, "code.version": code_version()}
    with tracked_run(config, choices, data, tags) as tracker:
        record = RunRecord(config, data, trainer, tracker)
        record.start()
        try:
            for epoch in trainer.epochs():
                record.epoch(epoch)
            return record.finish()
        finally:
            progress.close()


def reporter(config: Config):
    """Where the run shows its progress: on the sweep's board if there is one, else on the terminal."""
    from sbp.engine.progress import Reporter

    folder = os.environ.get(FOLDER_VARIABLE)
    name = f"{config.label or config.selection.name} seed {config.seed}"
    return BoardReporter(folder, name) if folder else Reporter()


def group_choices() -> dict[str, str]:
    """The option chosen for each of our config groups, from Hydra."""
    choices = HydraConfig.get().runtime.choices
    return {group: str(option) for group, option in choices.items() if "/" not in group and "@" not in group}


def sweep_tags() -> dict[str, str]:
    """The sweep that this job belongs to, and its number there; empty for a single run."""
    if not in_sweep():
        return {}
    hydra_config = HydraConfig.get()
    return {"sweep": Path(hydra_config.sweep.dir).name, "sweep.job": str(hydra_config.job.num)}


def in_sweep() -> bool:
    """Whether Hydra runs a sweep."""
    return HydraConfig.get().mode == hydra.types.RunMode.MULTIRUN


@hydra.main(config_path=conf_dir(), config_name="config", version_base="1.3")
def job(cfg: DictConfig) -> float:
    """Hydra's entry: one job. Returns the final mean mAP on the validation split, for sweepers.

    A sweep goes on after a job that fails; the job leaves a line in its folder, and its log the traceback.
    """
    terminate_on_sigterm()
    if in_worker():
        stop_with_the_sweep()
    if FOLDER_VARIABLE in os.environ:
        log_to_file_only()
    folder = Path(HydraConfig.get().runtime.output_dir)
    try:
        cfg.run_dir = str(folder)
        if cfg.repeat is None:
            cfg.repeat = not in_sweep()
        OmegaConf.resolve(cfg)
        return run(validated(cfg), group_choices(), sweep_tags()).get("val/map", math.nan)
    except (UserError, TrainingDiverged) as error:
        log.error("%s", error)
        if not in_sweep():
            sys.exit(2 if isinstance(error, UserError) else 3)
        leave_failure(folder, str(error))
        return math.nan
    except (KeyboardInterrupt, SystemExit):
        if in_worker():
            leave_worker()
        raise
    except Exception as error:
        if not in_sweep():
            raise
        (folder / TRACEBACK).write_text(traceback.format_exc())
        leave_failure(folder, f"{type(error).__name__}: {error} (see {folder / TRACEBACK})")
        return math.nan


def leave_failure(folder: Path, reason: str) -> None:
    """What the sweep names at its end."""
    line = " ".join(reason.split())
    (folder / FAILURE).write_text(f"{HydraConfig.get().job.override_dirname}: {line}\n")


def log_to_file_only() -> None:
    """Leave the terminal to the board's bar; warnings still show, and each job's own log has everything."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.StreamHandler) and not isinstance(handler, logging.FileHandler):
            handler.setLevel(logging.WARNING)


def start(arguments: Sequence[str]) -> list[str]:
    """Hand a checked command line to Hydra; returns the lines of a sweep's jobs that failed."""
    failed_jobs.clear()
    before = sys.argv
    sys.argv = [before[0], *arguments]
    try:
        job()
    finally:
        sys.argv = before
    return list(failed_jobs)


def main() -> None:
    """Check the command line, then hand over to Hydra."""
    try:
        plan = check_overrides(sys.argv[1:])
        jobs = len(remaining(j.config for j in plan.jobs)) if plan.sweep and plan.complete else 0
    except UserError as error:
        print(f"sbp: {error}", file=sys.stderr)
        sys.exit(2)
    with board(jobs if jobs > 1 else 0):
        failed = start(sys.argv[1:])
    if failed:
        print(f"sbp: {len(failed)} of {len(plan.jobs)} jobs failed", *failed, sep="\n  ", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    # under its real name, not __main__: jobs in other processes import the function from there
    from sbp.train import main as real_main

    real_main()
