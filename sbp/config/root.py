"""The root schema: one run, and what must fit together in it."""

import posixpath
import re
from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from sbp.config import groups as g
from sbp.config import stages
from sbp.config.schemas import OPEN_GROUPS, base_of, in_group, make, names, own_keys, registered, schema
from sbp.engine.budget import Budget, Schedule
from sbp.engine.losses import SegmentationLoss, defines, says
from sbp.errors import UserError
from sbp.plugins.checks import at_least, one_of, require

SEGMENTATION = "segmentation"
IF_EXISTS = {
    "auto": "resume in a sweep, retrain else",
    "reuse": "take a finished run from MLflow; train an interrupted one anew",
    "resume": "take a finished run from MLflow; resume an interrupted one in its folder and MLflow run",
    "retrain": "train anew, whatever is there",
}


@dataclass
class Config:
    """The root: one run. section, label: the experiment it belongs to and what it is called there. exclusive:
    nothing else runs on the machine, so that its seconds may be compared. if_exists: what to do where a run
    of the same config and code is there, see IF_EXISTS. init_from: checkpoint whose weights the run begins
    with, see sbp.run.initial."""

    seed: int = MISSING
    run_name: str | None = None
    section: str | None = None
    label: str | None = None
    exclusive: bool = False
    if_exists: str = "auto"
    init_from: str | None = None
    tags: dict[str, str] = field(default_factory=dict)
    output_root: str = MISSING
    run_dir: str = MISSING
    data: g.DataConfig = MISSING
    defects: g.DefectsConfig = MISSING
    selection: g.SelectionConfig = MISSING
    aggregation: g.OptionConfig = MISSING
    beta: g.BetaConfig = MISSING
    staleness: g.OptionConfig = MISSING
    guard: g.OptionConfig = field(default_factory=lambda: g.OptionConfig(name="none"))
    upsampling: g.UpsamplingConfig = MISSING
    model: g.OptionConfig = MISSING
    loss: g.OptionConfig = MISSING
    optimizer: g.OptimizerConfig = MISSING
    scheduler: Schedule = MISSING
    augmentation: g.AugmentationConfig = MISSING
    trainer: g.TrainerConfig = MISSING
    tracking: g.TrackingConfig = MISSING
    scale: g.ScaleConfig = MISSING
    budget: Budget = MISSING
    scoring: g.ScoringConfig = MISSING
    evaluation: g.EvaluationConfig = MISSING
    gradients: g.GradientsConfig = field(default_factory=g.GradientsConfig)
    folds: g.FoldsConfig = field(default_factory=g.FoldsConfig)
    labelling: stages.LabellingConfig = field(default_factory=stages.LabellingConfig)
    arrival: stages.ArrivalConfig = field(default_factory=stages.ArrivalConfig)

    def __post_init__(self) -> None:
        at_least(0, seed=self.seed)
        for tag in self.tags:
            recordable("tags", tag)
        if self.section is not None:
            recordable("section", self.section)
        require(len(self.defects.focus) > 0, "defects.focus", self.defects.focus, "at least one defect")
        for name in self.defects.focus:
            one_of("defects.focus", name, self.data.defects)
        one_of("if_exists", self.if_exists, tuple(IF_EXISTS))
        parts = {group: self._made(group) for group in OPEN_GROUPS}
        self._check_task()
        self._check_image_size(parts["model"].stride, parts["aggregation"])
        if self.selection.unit == "auto":
            self.selection.unit = "tile" if self._tiled else "image"
        self._check_tiles()
        self._check_guard(parts["guard"].needs_scores, parts["selection"].needs_scores)
        self._check_write_back(parts["staleness"].writes_back, parts["aggregation"].moves_image)
        self._check_selection(parts["selection"], type(parts["loss"]), parts["aggregation"].moves_image)
        self._check_parallel(parts["staleness"].follows_training)
        self._check_stages()

    def _made(self, group: str) -> Any:
        """The group's object; making it checks its values."""
        chosen = getattr(self, group)
        one_of(f"{group}.name", chosen.name, names(group))
        needed = schema if own_keys(group, chosen.name) else base_of
        if not isinstance(chosen, needed(group, chosen.name)):
            raise UserError(f"{group}.name={chosen.name}: choose the option itself, {group}={chosen.name}")
        return make(group, chosen)

    @property
    def task(self) -> str:
        """What is trained: segmentation or classification."""
        return self._task_of("loss")

    def _task_of(self, group: str) -> str:
        return getattr(registered(group, getattr(self, group).name), "task", SEGMENTATION)

    def _check_task(self) -> None:
        """One task for all parts, and what classification, without maps, has no meaning for."""
        tasks = {group: self._task_of(group) for group in ("data", "model", "loss")}
        if len(set(tasks.values())) > 1:
            said = ", ".join(f"{group}={getattr(self, group).name} is for {t}" for group, t in tasks.items())
            raise UserError(f"{said}: must all be for one task; loss=cross_entropy goes with model=resnet8")
        if self.task == SEGMENTATION:
            return
        loss = f"loss={self.loss.name}"
        for key, value, allowed in (
            ("aggregation", self.aggregation.name, ("max", "mean")),
            ("scoring.scale_factor", self.scoring.scale_factor, (1.0,)),
            ("labelling.by", self.labelling.by, (None,)),
            ("arrival.defect", self.arrival.defect, (None,)),
        ):
            words = " or ".join("null" if v is None else str(v) for v in allowed)
            require(value in allowed, key, value, f"{words} with {loss}, which gives one loss an image")

    def _check_guard(self, guard_watches: bool, has_scores: bool) -> None:
        if guard_watches and not has_scores:
            raise UserError(
                f"guard={self.guard.name} selection={self.selection.name}: the guard watches scores, and "
                "this selection takes none; choose guard=none, or selection=stratified"
            )

    def _check_write_back(self, writes_back: bool, moves_image: bool) -> None:
        if writes_back and moves_image:
            name = self.aggregation.name
            raise UserError(
                f"aggregation={name} staleness={self.staleness.name}: {name} scores a moved image, which the "
                "training step does not see; choose another aggregation or another staleness"
            )
        if writes_back and self.scoring.weights == "ema":
            raise UserError(
                f"scoring.weights=ema staleness={self.staleness.name}: its scores are the training step's, "
                "with the current weights; choose another staleness, as stale_smart"
            )
        if writes_back and self._tiled and self.selection.unit == "image":
            raise UserError(
                f"data.fit=tile staleness={self.staleness.name}: a training step sees tiles, not whole "
                "images; choose another staleness, or selection.unit=tile"
            )

    @property
    def _tiled(self) -> bool:
        return isinstance(self.data, g.DiskData) and self.data.fit == "tile"

    def _check_tiles(self) -> None:
        if self._tiled and self.gradients.every:
            raise UserError(
                f"data.fit=tile gradients.every={self.gradients.every}: the probe wants whole images; "
                "must be 0, or choose data.fit=pad"
            )
        if self.selection.unit == "tile" and not self._tiled:
            fit = getattr(self.data, "fit", None)
            cause = f"data={self.data.name}: its" if fit is None else f"data.fit={fit}:"
            raise UserError(
                f"selection.unit=tile {cause} images are not cut into tiles; must be image, or choose "
                "data.fit=tile"
            )

    def _check_selection(self, selection: Any, loss: type[SegmentationLoss], moves_image: bool) -> None:
        both = f"selection={self.selection.name} loss={self.loss.name}"
        if selection.weighs_images and not says(loss, "weighs_images"):
            raise UserError(
                f"{both}: some images count more than others, and {defines(loss).__name__}.reduce does not "
                "say what that makes of it, with weighs_images = True and, if it is no mean of the map, "
                "reduce_weighted; choose another loss"
            )
        if selection.reads_confidence and not says(loss, "is_cross_entropy", "loss_map"):
            raise UserError(
                f"{both}: how sure a prediction is follows from its cross-entropy, which the map of "
                f"{self.loss.name} is not; choose another loss"
            )
        if selection.reads_confidence and moves_image:
            raise UserError(
                f"selection={self.selection.name} aggregation={self.aggregation.name}: the largest losses "
                "are not known beside those of a moved image; choose another aggregation"
            )

    def _check_parallel(self, follows_training: bool) -> None:
        if follows_training and self.scoring.parallel != "none":
            raise UserError(
                f"staleness={self.staleness.name} scoring.parallel={self.scoring.parallel}: what is to be "
                "scored is known when the epoch before is over; must be none, or choose another staleness"
            )

    def _check_stages(self) -> None:
        """What a run that builds on earlier ones cannot be at the same time."""
        labelling, arrival = self.labelling.by is not None, self.arrival.defect is not None
        key = f"arrival.defect={self.arrival.defect}" if arrival else f"labelling.by={self.labelling.by}"
        if arrival:
            one_of("arrival.defect", self.arrival.defect, self.data.defects)
            if len(self.data.defects) < 2:
                raise UserError(f"{key}: the data set has no other defect that is there before it")
        if labelling and arrival:
            raise UserError(f"{key} labelling.by={self.labelling.by}: one of them must be null")
        if not (labelling or arrival):
            return
        if self.folds.count:
            raise UserError(f"{key} folds.count={self.folds.count}: must be 0")
        if self.trainer.processes > 1:
            raise UserError(f"{key} trainer.processes={self.trainer.processes}: must be 1")
        if arrival and self.budget.compute is None:
            raise UserError(f"{key}: arrival.at divides budget.compute, which must be given")

    def _check_image_size(self, stride: int, aggregation: Any) -> None:
        size, scale = self.data.image_size, self.scoring.scale_factor
        for key, pixels in (
            ("data.image_size", size),
            ("data.image_size * scoring.scale_factor", size * scale),
        ):
            require(pixels % stride == 0, key, f"{pixels:g}", f"a multiple of {stride}, the model's stride")
        with in_group("aggregation"):
            aggregation.check_size(size, size, scale)


def recordable(key: str, name: str) -> None:
    """Check that MLflow takes `name` as the key of a tag."""
    fits = re.fullmatch(r"[\w./ :-]{1,200}", name) and posixpath.normpath(name) == name
    shown = name if len(name) < 100 else name[:97] + "..."
    allowed = "a name of at most 200 letters, digits and _ - . : / or spaces, without //, ./ or ../"
    require(bool(fits) and not name.startswith(("/", ".")), key, shown, allowed)
