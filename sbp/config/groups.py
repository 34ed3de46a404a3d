"""The schemas of the config groups: each key, its type and range, but for those of registered classes."""

import os
import re
from dataclasses import dataclass, field
from typing import Any

from omegaconf import II, MISSING

from sbp.errors import UserError
from sbp.plugins.checks import above, at_least, fraction, one_of, require

TAKEN = ("healthy", "several")
"""What metrics call images without a defect, and with more than one."""
_NAME = re.compile(r"\w([\w .-]*\w)?")


@dataclass
class ScaleConfig:
    """How large an experiment is: side of the images in pixels, and compute in baseline epochs at the short
    and the long budget, for synthetic images and for real ones (real_); for classification (class_), the
    batch size, and how many images of the embedded set are used, null for all; what active learning begins
    with, annotates in a round, and for how many rounds; how many images a run's gallery shows."""

    name: str = MISSING
    image_size: int = MISSING
    real_image_size: int = MISSING
    train_images: int = MISSING
    val_images: int = MISSING
    test_images: int = MISSING
    batch_size: int = MISSING
    class_batch_size: int = 128
    class_images: int | None = None
    compute: float = MISSING
    long_compute: float = MISSING
    real_compute: float = MISSING
    real_long_compute: float = MISSING
    first_labelled: int = 50
    labelled_a_round: int = 25
    labelling_rounds: int = 6
    gallery_images: int = 8

    def __post_init__(self) -> None:
        at_least(8, scale__image_size=self.image_size, scale__real_image_size=self.real_image_size)
        at_least(1, scale__batch_size=self.batch_size, scale__class_batch_size=self.class_batch_size)
        at_least(1, scale__class_images=self.class_images)


@dataclass
class DataConfig:
    """What every data set says: its defects, which of them are common and which rare, the model's image
    size, and the compute in baseline epochs that training on it is given at the short and the long budget."""

    name: str = MISSING
    image_size: int = MISSING
    compute: float = MISSING
    long_compute: float = II("scale.long_compute")
    channels: int = 1
    seed: int = 0
    defects: list[str] = MISSING
    common: list[str] = MISSING
    rare: list[str] = MISSING

    def __post_init__(self) -> None:
        at_least(8, data__image_size=self.image_size)
        at_least(0, data__seed=self.seed)
        if not self.defects:
            raise UserError(
                "data.defects is empty: must name at least one defect, as in data.defects=[scratch,dent]"
            )
        for defect in self.defects:
            plain = bool(_NAME.fullmatch(defect)) and defect not in TAKEN
            rule = "a name of letters, digits, spaces and _ - . (metrics are called that)"
            require(plain, "data.defects", defect, f"{rule}, other than {' and '.join(TAKEN)}")
            require(self.defects.count(defect) == 1, "data.defects", defect, "there once")
        for key, chosen in (("data.common", self.common), ("data.rare", self.rare)):
            for name in chosen:
                one_of(key, name, self.defects)


@dataclass
class DiskData(DataConfig):
    """Images on disk. fit, white_level: see sbp.data.disk.source.Reading; with fit=tile, image_size is the
    side of a tile, and tile_overlap the share of it that neighbours have in common when a whole image is
    scored or evaluated; split_by: group, or image, which leaks where images are related; split_file: where
    the split is kept, None: in the output folder; official_splits: keep those that the set comes with; exif:
    `apply`, rotate images as EXIF says, or `ignore`, None: as the tools do that write the layout; on_bad:
    stop at a file that cannot be trusted, or skip its image and say so; cache: decode once to disk, stream
    from the files, or auto: as the disk has room; known: a table of the images that were not annotated for
    every defect, see sbp.data.disk.known."""

    root: str | None = None
    fit: str = "resize"
    val_fraction: float = 0.2
    test_fraction: float = 0.2
    split_by: str = "group"
    split_file: str | None = None
    official_splits: bool = True
    exif: str | None = None
    white_level: int | None = None
    on_bad: str = "stop"
    tile_overlap: float = 0.25
    cache: str = "auto"
    known: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("data.fit", self.fit, ("resize", "pad", "tile"))
        one_of("data.split_by", self.split_by, ("group", "image"))
        one_of("data.cache", self.cache, ("auto", "disk", "stream"))
        one_of("data.on_bad", self.on_bad, ("stop", "skip"))
        if self.exif is not None:
            one_of("data.exif", self.exif, ("apply", "ignore"))
        ok = 0 <= self.tile_overlap <= 0.75
        require(ok, "data.tile_overlap", self.tile_overlap, "between 0 and 0.75")
        require(self.channels in (1, 3), "data.channels", self.channels, "1 (grey) or 3 (colour)")
        fraction(data__val_fraction=self.val_fraction, data__test_fraction=self.test_fraction)
        at_least(1, data__white_level=self.white_level)


@dataclass
class DefectsConfig:
    """Which defects the selection focuses on; the model always predicts all of the data set's."""

    focus: list[str] = MISSING


@dataclass
class OptionConfig:
    """An option of a group whose only keys are those of its class; see sbp.config.schemas."""

    name: str = MISSING


@dataclass
class SelectionConfig(OptionConfig):
    """Which images an epoch trains on. warmup_epochs: epochs at the start that train on everything. unit:
    what is scored, ranked and drawn, an `image` or, with data.fit=tile, a `tile`; `auto` is a tile there."""

    warmup_epochs: int = 1
    unit: str = "image"

    def __post_init__(self) -> None:
        at_least(0, selection__warmup_epochs=self.warmup_epochs)
        one_of("selection.unit", self.unit, ("image", "tile", "auto"))


@dataclass
class BetaConfig:
    """Selectivity; value null keeps `margin` times the share of images that hold a focused defect."""

    value: float | None = MISSING
    margin: float = 1.25

    def __post_init__(self) -> None:
        at_least(0, beta__value=self.value)
        above(0, beta__margin=self.margin)


@dataclass
class UpsamplingConfig:
    """How often an image with a rare defect is a candidate; null: as often as the common defect."""

    name: str = MISSING
    factor: float | None = 1.0

    def __post_init__(self) -> None:
        one_of("upsampling.name", self.name, ("none", "rare"))
        at_least(1, upsampling__factor=self.factor)
        require((self.factor or 1) <= 10_000, "upsampling.factor", self.factor, "at most 10000")


@dataclass
class OptimizerConfig(OptionConfig):
    """The optimizer; see sbp.engine.optimizers. clip_norm: largest gradient norm, null for none."""

    clip_norm: float | None = None

    def __post_init__(self) -> None:
        norm = self.clip_norm
        require(norm is None or 0 < norm < float("inf"), "optimizer.clip_norm", norm, "above 0, or null")


@dataclass
class AugmentationConfig:
    """albumentations transforms in order, each a mapping with `name` and its arguments."""

    transforms: list[dict[str, Any]] = field(default_factory=list)


def known_device(key: str, device: str) -> None:
    """Check the name of a device; whether it is there, Compute says."""
    kind, _, number = device.partition(":")
    ok = kind in ("cpu", "cuda", "mps") and (not number or number.isdigit())
    require(ok, key, device, "cpu, cuda, cuda:N or mps")


def known_threads(key: str, number: int) -> None:
    """Check that a number of threads or processes is one that this machine can serve."""
    most = max(16, 4 * (os.cpu_count() or 1))  # many more would wait for each other for ever
    require(number <= most, key, number, f"at most {most} on this machine")


@dataclass
class TrainerConfig:
    """Where and how to compute. threads: of torch, null for its own choice; workers: loader processes,
    null: see TrainLoader; save_every_s: seconds after which the state is saved within an epoch, too;
    save_share: of the time that saving may take: not after each epoch if they are very short; 1: always.
    processes: that train the model together, on this machine, each with a device of its own if those are
    GPUs; batch_size is that of all of them. Under torchrun its number counts."""

    device: str = "cpu"
    precision: str = "fp32"
    channels_last: bool = True
    batch_size: int = MISSING
    workers: int | None = None
    threads: int | None = None
    save_every_s: float = 300.0
    save_share: float = 0.02
    processes: int = 1

    def __post_init__(self) -> None:
        known_device("trainer.device", self.device)
        one_of("trainer.precision", self.precision, ("fp32", "bf16"))
        at_least(1, trainer__batch_size=self.batch_size, trainer__threads=self.threads)
        require(0 < self.save_share <= 1, "trainer.save_share", self.save_share, "above 0, at most 1")
        known_threads("trainer.threads", self.threads or 1)
        known_threads("trainer.workers", self.workers or 0)
        at_least(1, trainer__processes=self.processes)
        known_threads("trainer.processes", self.processes)
        at_least(0, trainer__workers=self.workers, trainer__save_every_s=self.save_every_s)


@dataclass
class TrackingConfig:
    """Where the run is recorded. uri: null is an SQLite file in the output folder. parent: id of the run
    that this one is nested under; a sweep sets it. patience_s: how long the end of a run waits for a store
    that takes nothing any more; sbp sync sends the rest."""

    name: str = MISSING
    uri: str | None = None
    experiment: str = "sbp"
    parent: str | None = None
    histogram_images: bool = True
    gallery_images: int = II("scale.gallery_images")
    patience_s: float = 10.0

    def __post_init__(self) -> None:
        one_of("tracking.name", self.name, ("local", "server", "none"))
        at_least(0, tracking__gallery_images=self.gallery_images, tracking__patience_s=self.patience_s)
        require(self.gallery_images <= 1000, "tracking.gallery_images", self.gallery_images, "at most 1000")
        named = len(self.experiment.strip()) > 0 and len(self.experiment) <= 500
        require(named, "tracking.experiment", self.experiment[:100], "a name of at most 500 characters")
        known = self.uri is None or re.match(r"databricks|[a-z][a-z0-9+.-]*:", self.uri)
        allowed = "an address, as http://host:5000 or sqlite:///file.db"
        lasting = self.uri is None or not re.match(r"sqlite:(///:memory:.*|/{0,2})$", self.uri)
        require(bool(known) and lasting, "tracking.uri", self.uri, allowed)
        if self.name == "server" and not self.uri:
            raise UserError("tracking.uri=null: must be the server's address, or set MLFLOW_TRACKING_URI")


@dataclass
class ScoringConfig:
    """The scoring pass. monitor_every: for policies that need no scores, score everything every N epochs
    only to record the histograms; not charged to the budget. 0: never. parallel: `none`, before the draw;
    `device` or `process`, beside training, on `device` or in a process with so many torch `threads`;
    hand_over, max_age: see sbp.engine.parallel_scoring. weights: `current`, or `ema`, their moving average,
    of which a step leaves the share ema_decay."""

    batch_size: int = MISSING
    precision: str = "fp32"
    scale_factor: float = 1.0
    monitor_every: int = 0
    parallel: str = "none"
    device: str | None = None
    threads: int = 1
    hand_over: str = "fixed"
    max_age: int = 1
    weights: str = "current"
    ema_decay: float = 0.99

    def __post_init__(self) -> None:
        one_of("scoring.weights", self.weights, ("current", "ema"))
        require(0 <= self.ema_decay < 1, "scoring.ema_decay", self.ema_decay, "at least 0 and below 1")
        at_least(1, scoring__batch_size=self.batch_size, scoring__threads=self.threads)
        at_least(1, scoring__max_age=self.max_age)
        at_least(0, scoring__monitor_every=self.monitor_every)
        one_of("scoring.parallel", self.parallel, ("none", "device", "process"))
        one_of("scoring.hand_over", self.hand_over, ("fixed", "arrival"))
        known_threads("scoring.threads", self.threads)
        if self.device is not None:
            known_device("scoring.device", self.device)
        if self.parallel == "device" and self.device is None:
            raise UserError("scoring.device=null: scoring.parallel=device needs a device: cuda:1, cpu ...")
        one_of("scoring.precision", self.precision, ("fp32", "bf16"))
        require(0 < self.scale_factor <= 1, "scoring.scale_factor", self.scale_factor, "above 0, at most 1")


@dataclass
class EvaluationConfig:
    """every, count: see ValidationSchedule in sbp.engine.evaluation; the rest: see Evaluator there. test:
    measure the test split at the end of the run."""

    every: int = 1
    count: int | None = None
    test: bool = True
    batch_size: int = MISSING
    threshold: float = 0.1
    min_area: int = 4
    iou_thresholds: list[float] = field(default_factory=lambda: [0.10, 0.20, 0.30, 0.40, 0.50])

    def __post_init__(self) -> None:
        at_least(1, evaluation__every=self.every, evaluation__batch_size=self.batch_size)
        at_least(1, evaluation__count=self.count, evaluation__min_area=self.min_area)
        require(0 < self.threshold < 1, "evaluation.threshold", self.threshold, "between 0 and 1")
        ok = len(self.iou_thresholds) > 0 and all(0 < t <= 1 for t in self.iou_thresholds)
        require(ok, "evaluation.iou_thresholds", self.iou_thresholds, "one or more numbers in (0, 1]")


@dataclass
class FoldsConfig:
    """Cross-validation among the training images: cut into `count` parts, whole groups at a time, of which
    `without` (from 0) is left out. count 0: all are trained on."""

    count: int = 0
    without: int = 0

    def __post_init__(self) -> None:
        require(self.count == 0 or self.count >= 2, "folds.count", self.count, "0 or at least 2")
        ok = 0 <= self.without < max(1, self.count)
        allowed = f"at least 0 and below folds.count={self.count}"
        require(ok, "folds.without", self.without, allowed if self.count else "0 without folds.count")


@dataclass
class GradientsConfig:
    """The gradient probe, see sbp.engine.gradients: every `every` epochs (0: never), not charged to the
    budget. batch: images whose gradients are compared; fraction: share of them in a subsample."""

    every: int = 0
    batch: int = 192
    fraction: float = 1 / 3
    repeats: int = 1

    def __post_init__(self) -> None:
        at_least(0, gradients__every=self.every)
        at_least(1, gradients__batch=self.batch, gradients__repeats=self.repeats)
        require(self.repeats <= 1000, "gradients.repeats", self.repeats, "at most 1000")
        require(0 < self.fraction <= 0.5, "gradients.fraction", self.fraction, "above 0 and at most 0.5")
