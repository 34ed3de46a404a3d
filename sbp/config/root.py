"""The root schema: one run, and what must fit together in it."""

from dataclasses import dataclass, field

from omegaconf import MISSING

from sbp.config.checks import at_least, one_of, recordable, require
from sbp.config.data import DataConfig, DefectsConfig, DiskData, ScaleConfig
from sbp.config.options import OPTIONS, SCHEMAS
from sbp.config.run import BudgetConfig, EvaluationConfig, GradientsConfig, ScoringConfig, TrackingConfig
from sbp.config.selection import (
    AggregationConfig,
    BetaConfig,
    SelectionConfig,
    StalenessConfig,
    UpsamplingConfig,
)
from sbp.config.training import (
    AugmentationConfig,
    LossConfig,
    ModelConfig,
    OptimizerConfig,
    SchedulerConfig,
    TrainerConfig,
)
from sbp.errors import UserError


@dataclass
class Config:
    """The root: one run. section, label: the experiment it belongs to and what it is called there. alone:
    nothing else runs on the machine, so that its seconds may be compared. repeat: train although a run of
    the same config and code has finished; None: only outside sweeps, without resume. resume: go on where an
    interrupted run of the same config and code stopped; None: in sweeps only."""

    seed: int = MISSING
    run_name: str | None = None
    section: str | None = None
    label: str | None = None
    alone: bool = False
    repeat: bool | None = None
    resume: bool | None = None
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
    gradients: GradientsConfig = field(default_factory=GradientsConfig)

    def __post_init__(self) -> None:
        at_least(0, seed=self.seed)
        for tag in self.tags:
            recordable("tags", tag)
        if self.section is not None:
            recordable("section", self.section)
        require(len(self.defects.focus) > 0, "defects.focus", self.defects.focus, "at least one defect")
        for name in self.defects.focus:
            one_of("defects.focus", name, self.data.defects)
        for group, options in OPTIONS.items():
            chosen = getattr(self, group)
            one_of(f"{group}.name", chosen.name, options)
            expected = SCHEMAS.get(group, {}).get(chosen.name)
            if expected is not None and not isinstance(chosen, expected):
                raise UserError(
                    f"{group}.name={chosen.name}: choose the option itself, {group}={chosen.name}"
                )
        self._check_image_size()
        self._check_tiles()
        if self.aggregation.name == "shift" and self.staleness.name == "reuse":
            raise UserError(
                "aggregation=shift staleness=reuse: shift scores a moved image, which the training step does "
                "not see; choose another aggregation or another staleness"
            )

    def _check_tiles(self) -> None:
        if not isinstance(self.data, DiskData) or self.data.fit != "tile":
            return
        if self.staleness.name == "reuse":
            raise UserError(
                "data.fit=tile staleness=reuse: a training step sees tiles, not whole images; choose another "
                "staleness"
            )
        if self.gradients.every:
            raise UserError(
                f"data.fit=tile gradients.every={self.gradients.every}: the probe wants whole images; "
                "must be 0, or choose data.fit=pad"
            )

    def _check_image_size(self) -> None:
        size, stride = self.data.image_size, 2**self.model.encoder_depth
        scored = size * self.scoring.scale_factor
        for key, pixels in (("data.image_size", size), ("data.image_size * scoring.scale_factor", scored)):
            require(
                pixels % stride == 0,
                key,
                f"{pixels:g}",
                f"a multiple of {stride} (2 ** model.encoder_depth)",
            )
        k = getattr(self.aggregation, "k", None)
        _at_most_pixels = int(scored * scored)
        require(
            k is None or k <= _at_most_pixels,
            "aggregation.k",
            k,
            f"at most the image's {_at_most_pixels} pixels",
        )
        shift = getattr(self.aggregation, "max_shift", 0)
        require(shift < size, "aggregation.max_shift", shift, f"below the image's side of {size} pixels")
