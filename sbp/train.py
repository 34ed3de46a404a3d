"""Train one model, or a sweep of them: `python -m sbp.train [-m] [group=option] [key=value]`.

Heavy imports happen inside the job: composing a config, shell completion and --help stay quick.
"""

import contextlib
import logging
import math
import os
import signal
import sys
import traceback
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NoReturn

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from sbp.config import Config, validated
from sbp.config.command_line import plain, without_plus
from sbp.config.files import fill_from_files
from sbp.config.paths import conf_dir, register_resolvers
from sbp.config.preflight import check_overrides
from sbp.errors import TrainingDiverged, UserError
from sbp.sweep.callback import FAILURE, failed_jobs
from sbp.sweep.launchers import register_launchers
from sbp.sweep.processes import in_worker, leave_worker, stop_with_the_sweep
from sbp.sweep.progress import JobProgress, differing, sweep_progress
from sbp.sweep.remaining import remaining
from sbp.sweep.requeue import back_to_the_queue, queue_warning
from sbp.tracking.store import check_store
from sbp.utils import signals, torchrun
from sbp.utils.pipes import outlive_closed_pipes
from sbp.utils.progress import IN_SWEEP, Progress, RunProgress

TRACEBACK = "traceback.txt"

log = logging.getLogger("sbp")

register_resolvers()


def progress_of(cfg: DictConfig) -> Progress:
    """What shows the run's progress: the sweep's bar if there is one, else one of its own."""
    folder = os.environ.get(IN_SWEEP)
    return JobProgress(folder, cfg.label, HydraConfig.get().overrides.task) if folder else RunProgress()


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
    """Hydra's entry: one job. Returns the final mean mAP, or accuracy, on the validation split, for
    sweepers.

    A sweep continues after a job that fails; the job leaves a line in its folder, and its log the traceback.
    """
    outlive_closed_pipes()  # this may be a process of its own
    signals.install(*queue_warning())
    logging.raiseExceptions = False  # a log file on a full disk is no reason for a traceback
    if in_worker():
        stop_with_the_sweep()
    if IN_SWEEP in os.environ:
        log_to_file_only()
    folder, progress = Path(HydraConfig.get().runtime.output_dir), progress_of(cfg)
    try:
        cfg.run_dir = str(folder)
        if cfg.if_exists == "auto":
            cfg.if_exists = "resume" if in_sweep() else "retrain"
        fill_from_files(cfg)
        OmegaConf.resolve(cfg)
        from sbp.metrics.tasks import task_of_metrics
        from sbp.steps import run

        metrics = run(validated(cfg), group_choices(), sweep_tags(), progress)
        progress.close()
        return metrics.get(task_of_metrics(metrics).validated, math.nan)
    except (UserError, TrainingDiverged) as error:
        progress.failed()
        log.error("%s", error)
        if not in_sweep():
            sys.exit(2 if isinstance(error, UserError) else 3)
        leave_failure(folder, str(error))
        return math.nan
    except (KeyboardInterrupt, SystemExit) as error:
        if in_worker():
            leave_worker()
        if reason := back_to_the_queue():
            leave_failure(folder, reason)
            return math.nan
        if isinstance(error, KeyboardInterrupt):
            sys.exit(128 + signal.SIGINT)
        raise
    except Exception as error:
        progress.failed()
        with contextlib.suppress(OSError):
            (folder / TRACEBACK).write_text(traceback.format_exc())
        if not in_sweep():
            if isinstance(error, OSError) and error.filename:  # a file in the way, no permission
                log.error("%s: %s", error.filename, error.strerror)
                sys.exit(2)
            raise
        leave_failure(folder, f"{type(error).__name__}: {error} (see {folder / TRACEBACK})")
        return math.nan


def leave_failure(folder: Path, reason: str) -> None:
    """What the sweep names at its end."""
    line = " ".join(reason.split())
    (folder / FAILURE).write_text(f"{HydraConfig.get().job.override_dirname}: {line}\n")


def log_to_file_only() -> None:
    """Leave the terminal to the sweep's bar; warnings still show, and each job's own log has everything."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.StreamHandler) and not isinstance(handler, logging.FileHandler):
            handler.setLevel(logging.WARNING)


def start(arguments: Sequence[str]) -> list[str]:
    """Hand a checked command line to Hydra; returns the lines of a sweep's jobs that failed."""
    failed_jobs.clear()
    register_launchers()
    before = sys.argv
    sys.argv = [before[0], *plain(arguments)]
    try:
        job()
    finally:
        sys.argv = before
    return list(failed_jobs)


def main() -> None:
    """Check the command line, then hand over to Hydra."""
    outlive_closed_pipes()
    if torchrun.rank() > 0:
        follow()
    signals.install()
    try:
        _main()
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    except SystemExit:
        # in the middle of composing, a library can make an error of its own of a signal
        if (signum := signals.raised()) is not None:
            sys.exit(128 + signum)
        raise


def follow() -> NoReturn:
    """Train along with the process that torchrun has started first, which composes the config."""
    from sbp.run.follower import main
    from sbp.run.ranks import join_torchrun

    sys.exit(main(join_torchrun))


def _main() -> None:
    for note in without_plus(sys.argv[1:])[1]:
        print(f"sbp: {note}", file=sys.stderr)
    try:
        plan = check_overrides(sys.argv[1:])
        if plan.sweep and torchrun.count() > 1:
            raise UserError("-m under torchrun: a sweep starts its own processes, with trainer.processes=N")
        check_stores(j.config for j in plan.jobs)
        jobs = len(remaining(j.config for j in plan.jobs)) if plan.sweep and plan.complete else 0
    except UserError as error:
        print(f"sbp: {error}", file=sys.stderr)
        sys.exit(2)
    with sweep_progress(jobs if jobs > 1 else 0, differing(j.overrides for j in plan.jobs)):
        failed = start(sys.argv[1:])
    if failed:
        print(f"sbp: {len(failed)} of {len(plan.jobs)} jobs failed", *failed, sep="\n  ", file=sys.stderr)
        sys.exit(1)


def check_stores(configs: Iterable[Config]) -> None:
    """Raise UserError if one of them cannot be recorded where it is to be."""
    tracked = [config for config in configs if config.tracking.name != "none"]
    for uri, output_root in dict.fromkeys((config.tracking.uri, config.output_root) for config in tracked):
        check_store(uri, output_root)


if __name__ == "__main__":
    # under its real name, not __main__: jobs in other processes import the function from there
    from sbp.train import main as real_main

    real_main()
