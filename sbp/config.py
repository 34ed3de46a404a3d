"""The typed configuration: every key, its type and its range. Nothing here imports torch or reads data.

Hydra composes the YAML files under conf/ against these schemas, which rejects unknown keys and wrong
types; `validated` then turns the result into objects, which checks the ranges and what must fit together.
"""

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from sbp.errors import UserError

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


def _require(condition: bool, key: str, value: Any, allowed: str) -> None:
    if not condition:
        raise UserError(f"{key}={value}: must be {allowed}")


def _at_least(low: float, **keys: float | int | None) -> None:
    """Check that each given key (dots written as __) is a finite number of at least `low`, or None."""
    for key, value in keys.items():
        ok = value is None or (math.isfinite(value) and value >= low)
        _require(ok, key.replace("__", "."), value, f"at least {low:g}")


def _fraction(**keys: float | None) -> None:
    for key, value in keys.items():
        ok = value is None or 0 <= value <= 1
        _require(ok, key.replace("__", "."), value, "between 0 and 1")


def _one_of(key: str, value: Any, allowed: tuple[str, ...] | list[str]) -> None:
    _require(value in allowed, key, value, "one of " + ", ".join(allowed))


@dataclass
class ScaleConfig:
    """How large an experiment is: side of the images in pixels and compute in baseline epochs, for
    synthetic images and for real ones (photo_)."""

    name: str = MISSING
    image_size: int = MISSING
    photo_size: int = MISSING
    train_images: int = MISSING
    val_images: int = MISSING
    test_images: int = MISSING
    batch_size: int = MISSING
    compute: float = MISSING
    photo_compute: float = MISSING

    def __post_init__(self) -> None:
        _at_least(8, scale__image_size=self.image_size, scale__photo_size=self.photo_size)
        _at_least(1, scale__batch_size=self.batch_size)


@dataclass
class DataConfig:
    """What every data set says: its defects, which of them are common and which rare, the model's image
    size, and the compute in baseline epochs that training on it is given."""

    name: str = MISSING
    image_size: int = MISSING
    compute: float = MISSING
    channels: int = 1
    seed: int = 0
    defects: list[str] = MISSING
    common: list[str] = MISSING
    rare: list[str] = MISSING

    def __post_init__(self) -> None:
        _at_least(8, data__image_size=self.image_size)
        _at_least(0, data__seed=self.seed)
        _require(len(self.defects) > 0, "data.defects", self.defects, "at least one defect")
        for key, chosen in (("data.common", self.common), ("data.rare", self.rare)):
            for name in chosen:
                _one_of(key, name, self.defects)


@dataclass
class InspectionData(DataConfig):
    """The embedded synthetic set; see sbp.data.inspection."""

    train_images: int = MISSING
    val_images: int = MISSING
    test_images: int = MISSING
    common_share: float = 0.10
    rare_share: float = 0.015
    eval_common_share: float = 0.30
    eval_rare_share: float = 0.20
    lookalike_share: float = 0.015
    eval_lookalike_share: float = 0.15
    missing_annotations: float = 0.05

    def __post_init__(self) -> None:
        super().__post_init__()
        _require(self.defects == ["scratch", "broken"], "data.defects", self.defects, "[scratch, broken]")
        _require(32 <= self.image_size <= 512, "data.image_size", self.image_size, "between 32 and 512")
        _require(self.channels == 1, "data.channels", self.channels, "1 (the panels are grey)")
        _at_least(
            8,
            data__train_images=self.train_images,
            data__val_images=self.val_images,
            data__test_images=self.test_images,
        )
        shares = {name: getattr(self, name) for name in vars(self) if name.endswith("share")}
        _fraction(**{f"data__{name}": value for name, value in shares.items()})
        _fraction(data__missing_annotations=self.missing_annotations)


@dataclass
class MagneticTileData(DataConfig):
    """The public Magnetic Tile set in its published layout; see sbp.data.magnetic_tile."""

    root: str | None = None
    fit: str = "resize"
    val_fraction: float = 0.2
    test_fraction: float = 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        _one_of("data.fit", self.fit, ("resize", "pad"))
        _fraction(data__val_fraction=self.val_fraction, data__test_fraction=self.test_fraction)
        _require(self.channels == 1, "data.channels", self.channels, "1 (the tiles are grey)")


@dataclass
class DefectsConfig:
    """Which defects the selection focuses on; the model always predicts all of the data set's."""

    focus: list[str] = MISSING


@dataclass
class SelectionConfig:
    """Which images an epoch trains on. warmup_epochs: epochs at the start that train on everything."""

    name: str = MISSING
    warmup_epochs: int = 1

    def __post_init__(self) -> None:
        _at_least(0, selection__warmup_epochs=self.warmup_epochs)


@dataclass
class RandomSelection(SelectionConfig):
    """fraction: kept share; None keeps what `beta` would keep."""

    fraction: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        ok = self.fraction is None or 0 < self.fraction <= 1
        _require(ok, "selection.fraction", self.fraction, "above 0 and at most 1, or null")


@dataclass
class BalancedSelection(SelectionConfig):
    """healthy_ratio: random healthy images per defective one."""

    healthy_ratio: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        _at_least(0, selection__healthy_ratio=self.healthy_ratio)


@dataclass
class AggregationConfig:
    """From a loss map to one score per image; see sbp.selection.aggregation."""

    name: str = MISSING


@dataclass
class TopKMeanAggregation(AggregationConfig):
    """Exactly one of k (pixels) and fraction (of the image's pixels)."""

    k: int | None = None
    fraction: float | None = 0.01

    def __post_init__(self) -> None:
        _at_least(1, aggregation__k=self.k)
        ok = self.fraction is None or 0 < self.fraction <= 1
        _require(ok, "aggregation.fraction", self.fraction, "above 0 and at most 1, or null")
        if (self.k is None) == (self.fraction is None):
            both = f"aggregation.k={self.k}, aggregation.fraction={self.fraction}"
            raise UserError(f"{both}: give exactly one, the other null")


@dataclass
class MinDefectsAggregation(AggregationConfig):
    """per_zone: a minimum per connected zone instead of one per image."""

    per_zone: bool = False


@dataclass
class MaskBordersAggregation(AggregationConfig):
    """width: pixels on each side of the target's border that do not count."""

    width: int = 2

    def __post_init__(self) -> None:
        _at_least(1, aggregation__width=self.width)


@dataclass
class ShiftAggregation(AggregationConfig):
    """max_shift: largest shift in pixels."""

    max_shift: int = 4

    def __post_init__(self) -> None:
        _at_least(1, aggregation__max_shift=self.max_shift)


@dataclass
class BetaConfig:
    """Selectivity; value null keeps `margin` times the share of images that hold a focused defect."""

    value: float | None = MISSING
    margin: float = 1.25

    def __post_init__(self) -> None:
        _at_least(0, beta__value=self.value)
        ok = math.isfinite(self.margin) and self.margin > 0
        _require(ok, "beta.margin", self.margin, "above 0")


@dataclass
class StalenessConfig:
    """When images are scored. every: the N of "every N epochs"."""

    name: str = MISSING
    every: int = 1

    def __post_init__(self) -> None:
        _at_least(1, staleness__every=self.every)


@dataclass
class ReuseStaleness(StalenessConfig):
    """refresh_fraction: share of the data set, the oldest scores first, that is scored every epoch."""

    refresh_fraction: float = 0.05

    def __post_init__(self) -> None:
        super().__post_init__()
        _fraction(staleness__refresh_fraction=self.refresh_fraction)
        _require(self.every == 1, "staleness.every", self.every, "1 with reuse, which refreshes every epoch")


@dataclass
class UpsamplingConfig:
    """How often an image with a rare defect is a candidate; null: as often as the common defect."""

    name: str = MISSING
    factor: float | None = 1.0

    def __post_init__(self) -> None:
        _at_least(1, upsampling__factor=self.factor)


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
        _one_of("model.architecture", self.architecture, ARCHITECTURES)
        _require(3 <= self.encoder_depth <= 5, "model.encoder_depth", self.encoder_depth, "3, 4 or 5")
        if self.decoder_channels is not None and self.architecture.startswith("unet"):
            _require(
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
        _at_least(0, loss__gamma=self.gamma)
        _fraction(loss__alpha=self.alpha)


@dataclass
class DiceBceLossConfig(LossConfig):
    """dice_weight: share of the Dice term in [0, 1]; the rest is binary cross-entropy."""

    dice_weight: float = 0.5

    def __post_init__(self) -> None:
        _fraction(loss__dice_weight=self.dice_weight)


@dataclass
class OptimizerConfig:
    """lr: peak learning rate. clip_norm: largest gradient norm, null for none."""

    name: str = MISSING
    lr: float = MISSING
    weight_decay: float = 0.0
    clip_norm: float | None = None

    def __post_init__(self) -> None:
        _require(math.isfinite(self.lr) and self.lr > 0, "optimizer.lr", self.lr, "above 0")
        _at_least(0, optimizer__weight_decay=self.weight_decay, optimizer__clip_norm=self.clip_norm)


@dataclass
class SgdConfig(OptimizerConfig):
    """Stochastic gradient descent."""

    momentum: float = 0.9
    nesterov: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        _fraction(optimizer__momentum=self.momentum)


@dataclass
class SchedulerConfig:
    """Learning rate as a function of the used share of the budget; warmup is a share too."""

    name: str = MISSING
    warmup: float = 0.0
    final: float = 0.0

    def __post_init__(self) -> None:
        _fraction(scheduler__warmup=self.warmup, scheduler__final=self.final)


@dataclass
class AugmentationConfig:
    """albumentations transforms in order, each a mapping with `name` and its arguments."""

    transforms: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class TrainerConfig:
    """Where and how to compute. threads: of torch, null for its own choice; workers: loader processes."""

    device: str = "cpu"
    precision: str = "fp32"
    channels_last: bool = True
    batch_size: int = MISSING
    workers: int = 0
    threads: int | None = None

    def __post_init__(self) -> None:
        kind, _, number = self.device.partition(":")
        ok = kind in ("cpu", "cuda", "mps") and (not number or number.isdigit())
        _require(ok, "trainer.device", self.device, "cpu, cuda, cuda:N or mps")
        _one_of("trainer.precision", self.precision, ("fp32", "bf16"))
        _at_least(1, trainer__batch_size=self.batch_size, trainer__threads=self.threads)
        _at_least(0, trainer__workers=self.workers)


@dataclass
class TrackingConfig:
    """Where the run is recorded. uri: null is an SQLite file in the output folder."""

    name: str = MISSING
    uri: str | None = None
    experiment: str = "sbp"
    histogram_images: bool = True
    gallery_images: int = 8

    def __post_init__(self) -> None:
        _one_of("tracking.name", self.name, ("local", "server", "none"))
        _at_least(0, tracking__gallery_images=self.gallery_images)
        if self.name == "server" and not self.uri:
            raise UserError("tracking.uri=null: must be the server's address, or set MLFLOW_TRACKING_URI")


@dataclass
class BudgetConfig:
    """The run ends at the first of these: epochs, compute in baseline epochs, seconds of training time."""

    epochs: int | None = None
    compute: float | None = None
    time_s: float | None = None

    def __post_init__(self) -> None:
        limits = {"epochs": self.epochs, "compute": self.compute, "time_s": self.time_s}
        for key, value in limits.items():
            ok = value is None or (math.isfinite(value) and value > 0)
            _require(ok, f"budget.{key}", value, "above 0, or null")
        if all(value is None for value in limits.values()):
            raise UserError("budget: one of budget.epochs, budget.compute and budget.time_s must be given")


@dataclass
class ScoringConfig:
    """The scoring pass. monitor_every: for policies that need no scores, score everything every N epochs
    only to record the histograms; not charged to the budget. 0: never."""

    batch_size: int = MISSING
    precision: str = "fp32"
    scale_factor: float = 1.0
    monitor_every: int = 0

    def __post_init__(self) -> None:
        _at_least(1, scoring__batch_size=self.batch_size)
        _at_least(0, scoring__monitor_every=self.monitor_every)
        _one_of("scoring.precision", self.precision, ("fp32", "bf16"))
        _require(0 < self.scale_factor <= 1, "scoring.scale_factor", self.scale_factor, "above 0, at most 1")


@dataclass
class EvaluationConfig:
    """Validation every `every` epochs and after the last one; see sbp.metrics for what is measured."""

    every: int = 1
    batch_size: int = MISSING
    threshold: float = 0.1
    min_area: int = 4
    iou_thresholds: list[float] = field(default_factory=lambda: [0.10, 0.20, 0.30, 0.40, 0.50])

    def __post_init__(self) -> None:
        _at_least(1, evaluation__every=self.every, evaluation__batch_size=self.batch_size)
        _at_least(1, evaluation__min_area=self.min_area)
        _require(0 < self.threshold < 1, "evaluation.threshold", self.threshold, "between 0 and 1")
        ok = len(self.iou_thresholds) > 0 and all(0 < t <= 1 for t in self.iou_thresholds)
        _require(ok, "evaluation.iou_thresholds", self.iou_thresholds, "one or more numbers in (0, 1]")


@dataclass
class Config:
    """The root: one run."""

    seed: int = MISSING
    run_name: str | None = None
    tags: dict[str, str] = field(default_factory=dict)
    output_root: str = MISSING
    run_dir: str = MISSING
    data: DataConfig = MISSING
    defects: DefectsConfig = MISSING
    selection: SelectionConfig = MISSING
    aggregation: AggregationConfig = MISSING
    beta: BetaConfig = MISSING
    staleness: StalenessConfig = MISSING
    upsampling: UpsamplingConfig = MISSING
    model: ModelConfig = MISSING
    loss: LossConfig = MISSING
    optimizer: OptimizerConfig = MISSING
    scheduler: SchedulerConfig = MISSING
    augmentation: AugmentationConfig = MISSING
    trainer: TrainerConfig = MISSING
    tracking: TrackingConfig = MISSING
    scale: ScaleConfig = MISSING
    budget: BudgetConfig = MISSING
    scoring: ScoringConfig = MISSING
    evaluation: EvaluationConfig = MISSING

    def __post_init__(self) -> None:
        _at_least(0, seed=self.seed)
        _require(len(self.defects.focus) > 0, "defects.focus", self.defects.focus, "at least one defect")
        for name in self.defects.focus:
            _one_of("defects.focus", name, self.data.defects)
        for group, options in OPTIONS.items():
            chosen = getattr(self, group)
            _one_of(f"{group}.name", chosen.name, options)
            expected = SCHEMAS.get(group, {}).get(chosen.name)
            if expected is not None and not isinstance(chosen, expected):
                raise UserError(
                    f"{group}.name={chosen.name}: choose the option itself, {group}={chosen.name}"
                )
        self._check_image_size()
        if self.aggregation.name == "shift" and self.staleness.name == "reuse":
            raise UserError(
                "aggregation=shift staleness=reuse: shift scores a moved image, which the training step does "
                "not see; choose another aggregation or another staleness"
            )

    def _check_image_size(self) -> None:
        size, stride = self.data.image_size, 2**self.model.encoder_depth
        scored = size * self.scoring.scale_factor
        for key, pixels in (("data.image_size", size), ("data.image_size * scoring.scale_factor", scored)):
            _require(
                pixels % stride == 0,
                key,
                f"{pixels:g}",
                f"a multiple of {stride} (2 ** model.encoder_depth)",
            )
        k = getattr(self.aggregation, "k", None)
        _at_most_pixels = int(scored * scored)
        _require(
            k is None or k <= _at_most_pixels,
            "aggregation.k",
            k,
            f"at most the image's {_at_most_pixels} pixels",
        )
        shift = getattr(self.aggregation, "max_shift", 0)
        _require(shift < size, "aggregation.max_shift", shift, f"below the image's side of {size} pixels")


# Options of a group that take further keys name their schema in their defaults list. The schemas live in
# a group of their own, so that `glob(*)` in a sweep sees options only.
SCHEMAS: dict[str, dict[str, type]] = {
    "data": {"inspection": InspectionData, "magnetic_tile": MagneticTileData},
    "selection": {"random": RandomSelection, "balanced": BalancedSelection},
    "aggregation": {
        "topk_mean": TopKMeanAggregation,
        "mindefects_maxbackground": MinDefectsAggregation,
        "maskdefectborders": MaskBordersAggregation,
        "shift": ShiftAggregation,
    },
    "staleness": {"reuse": ReuseStaleness},
    "loss": {"focal": FocalLossConfig, "dice_bce": DiceBceLossConfig},
    "optimizer": {"sgd": SgdConfig},
}


# What `name` may be in the groups whose options are built into the program.
OPTIONS: dict[str, tuple[str, ...]] = {
    "data": tuple(SCHEMAS["data"]),
    "selection": ("none", "selective", "per_defect", "random", "balanced"),
    "aggregation": ("max", "mean", *SCHEMAS["aggregation"]),
    "staleness": ("every_epoch", "stale", "smart", "stale_smart", "reuse"),
    "upsampling": ("none", "rare"),
    "loss": ("bce", "focal", "dice_bce"),
    "optimizer": ("adamw", "sgd"),
    "scheduler": ("constant", "linear", "cosine"),
}


def register_schemas() -> None:
    """Tell Hydra about the root schema and the options' schemas; safe to call more than once."""
    store = ConfigStore.instance()
    store.store(name="root_schema", node=Config)
    for group, schemas in SCHEMAS.items():
        for name, schema in schemas.items():
            store.store(group=f"schema/{group}", name=name, node=schema)


def validated(cfg: DictConfig) -> Config:
    """The composed config as objects, all ranges checked; raises UserError with one line otherwise."""
    try:
        config = OmegaConf.to_object(cfg)
    except OmegaConfBaseException as error:
        raise UserError(" ".join(str(error).split())) from None
    if not isinstance(config, Config):
        raise UserError("the config does not follow the root schema; config.yaml must list root_schema first")
    _reject_added_keys(config, "")
    return config


def _reject_added_keys(node: Any, prefix: str) -> None:
    """`+key=value` adds keys past the schema; a key that nothing reads is most likely a typo."""
    known = {f.name for f in fields(node)}
    for name, value in vars(node).items():
        if name not in known:
            raise UserError(f"{prefix}{name}: no such key; allowed here: {', '.join(sorted(known))}")
        if is_dataclass(value):
            _reject_added_keys(value, f"{prefix}{name}.")


def flattened(config: Config) -> dict[str, Any]:
    """Every value by its dotted key, lists as they are: {"beta.value": 8.0, ...}."""

    def walk(value: Any, key: str) -> Iterator[tuple[str, Any]]:
        if isinstance(value, dict):
            for name, inner in value.items():
                yield from walk(inner, f"{key}.{name}" if key else name)
        else:
            yield key, value

    return dict(walk(asdict(config), ""))
