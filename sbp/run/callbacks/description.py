"""What is known of a run before it trains: its composed config, and what its parts come to."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from sbp.config import Config
from sbp.engine.callbacks import Callback
from sbp.engine.trainer import Trainer
from sbp.selection import Periodic, TopKMean
from sbp.tracking.store import masked
from sbp.tracking.tracker import Tracker


class RunDescription(Callback):
    """Leaves config.yaml, and tags of the model's size and cost, params of what the config leaves open."""

    def __init__(self, config: Config, tracker: Tracker, resumed: bool):
        self.config, self.tracker, self.resumed = config, tracker, resumed

    def on_fit_start(self, trainer: Trainer) -> None:
        if self.tracker.last_step < 0:  # nothing is final yet, though it may have been interrupted
            self._describe(trainer)
        if self.resumed:
            self.tracker.set_tags({"resumed_at_epoch": trainer.epoch})

    def _describe(self, trainer: Trainer) -> None:
        path = Path(self.config.run_dir) / "config.yaml"
        path.write_text(yaml.safe_dump(public_config(self.config), sort_keys=False))
        self.tracker.log_file(path)
        sampler, cost = trainer.sampler, trainer.ledger.model_cost
        self.tracker.set_tags(
            {
                "model.parameters": sum(p.numel() for p in trainer.model.parameters()),
                "model.gflops_per_image": f"{cost.forward / 1e9:.4g}",
                "model.phi": f"{cost.phi:.4f}",
                "candidates": len(sampler.candidates),
            }
        )
        self.tracker.log_params(resolved_params(trainer))


def resolved_params(trainer: Trainer) -> dict[str, str]:
    """What the config leaves open, as the run has it: resolved.beta, resolved.N of the scoring passes, and
    resolved.K of topk_mean in pixels; those that the run uses."""
    sampler, scorer = trainer.sampler, trainer.scorer
    params = {"resolved.beta": f"{sampler.beta:.6g}"} if sampler.policy.uses_beta else {}
    if sampler.policy.needs_scores and isinstance(sampler.staleness, Periodic):
        params["resolved.N"] = str(sampler.staleness.every)
    if sampler.policy.needs_scores and isinstance(aggregation := scorer.aggregations[0], TopKMean):
        shape = trainer.data.train.image_shape if scorer.grid is None else (scorer.grid.side,) * 2
        height, width = (int(side * scorer.scale_factor) for side in shape)
        params["resolved.K"] = str(aggregation.pixels(height * width))
    return params


def public_config(config: Config) -> dict[str, Any]:
    """The config as plain values, without a password."""
    values = asdict(config)
    if config.tracking.uri:
        values["tracking"]["uri"] = masked(config.tracking.uri)
    return values
