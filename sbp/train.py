"""Train one model, or a sweep of them: `python -m sbp.train [-m] [group=option] [key=value]`.

Heavy imports happen inside the job: composing a config, shell completion and --help stay quick.
"""

import logging
import signal
import sys
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from sbp.conf_path import conf_dir, register_resolvers
from sbp.config import Config, register_schemas, validated
from sbp.errors import TrainingDiverged, UserError
from sbp.preflight import check_overrides

log = logging.getLogger("sbp")

register_schemas()
register_resolvers()


def run(config: Config, choices: dict[str, str], tags: dict[str, str]) -> dict[str, float]:
    """One run: build, train, record. Returns the last epoch's metrics.

    choices: the option of each config group. Leaves config.yaml, epochs.jsonl, histograms, figures and
    the checkpoints best.pt and last.pt in config.run_dir. Raises UserError for what a user can mend.
    """
    import torch

    from sbp import build
    from sbp.engine.progress import Reporter
    from sbp.run_record import RunRecord
    from sbp.tracking import tracked_run

    if config.trainer.threads:
        torch.set_num_threads(config.trainer.threads)
    build.seed_everything(config.seed)
    model = build.build_model(config.model, config.data.channels, len(config.data.defects))
    data = build.open_cached(config)
    build.check_focus(config.defects.focus, data)
    progress = Reporter()
    trainer = build.build_trainer(config, model, data, progress)
    with tracked_run(config, choices, data, tags) as tracker:
        record = RunRecord(config, data, trainer, tracker)
        record.start()
        try:
            for epoch in trainer.epochs():
                record.epoch(epoch)
        finally:
            progress.close()
        return record.finish()


def group_choices() -> dict[str, str]:
    """The option chosen for each of our config groups, from Hydra."""
    choices = HydraConfig.get().runtime.choices
    return {group: str(option) for group, option in choices.items() if "/" not in group and "@" not in group}


def sweep_tags() -> dict[str, str]:
    """The sweep that this job belongs to, and its number there; empty for a single run."""
    hydra_config = HydraConfig.get()
    if hydra_config.mode != hydra.types.RunMode.MULTIRUN:
        return {}
    return {"sweep": Path(hydra_config.sweep.dir).name, "sweep.job": str(hydra_config.job.num)}


def stop_on_sigterm() -> None:
    """Let SIGTERM end the run as an interruption would, so that it is closed and recorded as KILLED."""

    def stop(signum, frame):
        raise SystemExit(128 + signum)

    signal.signal(signal.SIGTERM, stop)


@hydra.main(config_path=conf_dir(), config_name="config", version_base="1.3")
def job(cfg: DictConfig) -> float:
    """Hydra's entry: one job. Returns the final mean mAP on the validation split, for sweepers."""
    stop_on_sigterm()
    try:
        cfg.run_dir = HydraConfig.get().runtime.output_dir
        OmegaConf.resolve(cfg)
        metrics = run(validated(cfg), group_choices(), sweep_tags())
    except UserError as error:
        log.error("%s", error)
        sys.exit(2)
    except TrainingDiverged as error:
        log.error("%s", error)
        sys.exit(3)
    return metrics.get("val/map", float("nan"))


def main() -> None:
    """Check the command line, then hand over to Hydra."""
    try:
        check_overrides(sys.argv[1:])
    except UserError as error:
        print(f"sbp: {error}", file=sys.stderr)
        sys.exit(2)
    job()


if __name__ == "__main__":
    main()
