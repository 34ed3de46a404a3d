"""Schemas of what is trained and how: model, loss, optimizer, scheduler, augmentation, trainer."""

import os
from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from sbp.plugins.checks import at_least, fraction, one_of, require


@dataclass
class ModelConfig:
    """The network; see sbp.engine.models."""

    name: str = MISSING


@dataclass
class LossConfig:
    """Training loss; each also gives the loss map that scoring needs. See sbp.engine.losses."""

    name: str = MISSING


@dataclass
class OptimizerConfig:
    """The optimizer; see sbp.engine.optimizers. clip_norm: largest gradient norm, null for none."""

    name: str = MISSING
    clip_norm: float | None = None

    def __post_init__(self) -> None:
        norm = self.clip_norm
        require(norm is None or 0 < norm < float("inf"), "optimizer.clip_norm", norm, "above 0, or null")


@dataclass
class SchedulerConfig:
    """Learning rate as a function of the used share of the budget; warmup is a share too."""

    name: str = MISSING
    warmup: float = 0.0
    final: float = 0.0

    def __post_init__(self) -> None:
        one_of("scheduler.name", self.name, ("constant", "linear", "cosine"))
        fraction(scheduler__warmup=self.warmup, scheduler__final=self.final)


@dataclass
class AugmentationConfig:
    """albumentations transforms in order, each a mapping with `name` and its arguments."""

    transforms: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class TrainerConfig:
    """Where and how to compute. threads: of torch, null for its own choice; workers: loader processes,
    null: see TrainLoader; save_every_s: seconds after which the state is saved within an epoch, too;
    save_share: of the time that saving may take, which for very short epochs means not after each of them; 1:
    always."""

    device: str = "cpu"
    precision: str = "fp32"
    channels_last: bool = True
    batch_size: int = MISSING
    workers: int | None = None
    threads: int | None = None
    save_every_s: float = 300.0
    save_share: float = 0.02

    def __post_init__(self) -> None:
        kind, _, number = self.device.partition(":")
        ok = kind in ("cpu", "cuda", "mps") and (not number or number.isdigit())
        require(ok, "trainer.device", self.device, "cpu, cuda, cuda:N or mps")
        one_of("trainer.precision", self.precision, ("fp32", "bf16"))
        at_least(1, trainer__batch_size=self.batch_size, trainer__threads=self.threads)
        require(0 < self.save_share <= 1, "trainer.save_share", self.save_share, "above 0, at most 1")
        most = max(16, 4 * (os.cpu_count() or 1))  # many more would wait for each other for ever
        for key, value in (("threads", self.threads or 1), ("workers", self.workers or 0)):
            require(value <= most, f"trainer.{key}", value, f"at most {most} on this machine")
        at_least(0, trainer__workers=self.workers, trainer__save_every_s=self.save_every_s)
