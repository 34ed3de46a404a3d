"""Schemas of what is trained and how: model, loss, optimizer, scheduler, augmentation, trainer."""

import math
import os
from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from sbp.config.checks import at_least, fraction, one_of, require

ARCHITECTURES = [
    "unet",
    "unetplusplus",
    "manet",
    "linknet",
    "fpn",
    "pspnet",
    "deeplabv3",
    "deeplabv3plus",
    "pan",
    "upernet",
    "segformer",
    "dpt",
]


@dataclass
class ModelConfig:
    """A segmentation_models_pytorch model. extra: further arguments of the architecture's constructor."""

    architecture: str = MISSING
    encoder: str = MISSING
    encoder_depth: int = 5
    encoder_weights: str | None = None
    decoder_channels: list[int] | None = None
    extra: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        one_of("model.architecture", self.architecture, ARCHITECTURES)
        require(3 <= self.encoder_depth <= 5, "model.encoder_depth", self.encoder_depth, "3, 4 or 5")
        for channels in self.decoder_channels or ():
            require(1 <= channels <= 8192, "model.decoder_channels", channels, "between 1 and 8192")
        if self.decoder_channels is not None and self.architecture.startswith("unet"):
            require(
                len(self.decoder_channels) == self.encoder_depth,
                "model.decoder_channels",
                self.decoder_channels,
                f"one number for each of the model.encoder_depth={self.encoder_depth} stages",
            )


@dataclass
class LossConfig:
    """Training loss; each also gives the loss map that scoring needs. See sbp.engine.losses."""

    name: str = MISSING


@dataclass
class FocalLossConfig(LossConfig):
    """gamma: focusing exponent; alpha: weight of defect pixels against background, null for none."""

    gamma: float = 2.0
    alpha: float | None = None

    def __post_init__(self) -> None:
        at_least(0, loss__gamma=self.gamma)
        fraction(loss__alpha=self.alpha)


@dataclass
class DiceBceLossConfig(LossConfig):
    """dice_weight: share of the Dice term in [0, 1]; the rest is binary cross-entropy."""

    dice_weight: float = 0.5

    def __post_init__(self) -> None:
        fraction(loss__dice_weight=self.dice_weight)


@dataclass
class OptimizerConfig:
    """lr: peak learning rate. clip_norm: largest gradient norm, null for none."""

    name: str = MISSING
    lr: float = MISSING
    weight_decay: float = 0.0
    clip_norm: float | None = None

    def __post_init__(self) -> None:
        require(math.isfinite(self.lr) and self.lr > 0, "optimizer.lr", self.lr, "above 0")
        at_least(
            0,
            optimizer__weight_decay=self.weight_decay,
        )
        norm = self.clip_norm
        ok = norm is None or (math.isfinite(norm) and norm > 0)
        require(ok, "optimizer.clip_norm", norm, "above 0, or null")


@dataclass
class SgdConfig(OptimizerConfig):
    """Stochastic gradient descent."""

    momentum: float = 0.9
    nesterov: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        fraction(optimizer__momentum=self.momentum)


@dataclass
class SchedulerConfig:
    """Learning rate as a function of the used share of the budget; warmup is a share too."""

    name: str = MISSING
    warmup: float = 0.0
    final: float = 0.0

    def __post_init__(self) -> None:
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
