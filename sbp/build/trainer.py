"""The bridge from config to objects: one function per part, plain values in, ready objects out."""

import logging
import math
import random
from collections.abc import Sequence

import numpy as np
import segmentation_models_pytorch as smp
import torch
from torch import nn

from sbp import config as c
from sbp.build.tiles import image_cost, images_at_once, training_tiles, whole_images
from sbp.data.augmentation import Augmentation
from sbp.data.dataset import DataSet
from sbp.data.loader import TrainLoader
from sbp.engine.budget import Budget, Ledger
from sbp.engine.device import Compute
from sbp.engine.evaluation import Evaluator
from sbp.engine.gradients import GradientProbe
from sbp.engine.losses import Bce, DiceBce, Focal, SegmentationLoss
from sbp.engine.scoring import Scorer
from sbp.engine.trainer import Schedule, Trainer
from sbp.errors import UserError
from sbp.selection import (
    AGGREGATIONS,
    Aggregation,
    Balanced,
    Everything,
    Max,
    Mean,
    PerDefect,
    Periodic,
    Policy,
    Random,
    Reuse,
    ScoreBook,
    Selective,
    SelectiveSampler,
    Staleness,
    beta_for_kept_fraction,
    candidate_list,
    defect_indices,
)
from sbp.utils.progress import Progress

log = logging.getLogger("sbp")


def seed_everything(seed: int) -> None:
    """Seed what initialises weights; every later choice draws from a generator of its own."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - for third-party code only
    torch.manual_seed(seed)


def build_model(config: c.ModelConfig, channels: int, num_defects: int) -> nn.Module:
    """A segmentation_models_pytorch model with one logit map per defect.

    Raises UserError for an unknown encoder or an argument that the architecture does not take.
    """
    arguments = dict(config.extra)
    if config.decoder_channels is not None:
        arguments["decoder_channels"] = tuple(config.decoder_channels)
    try:
        model = smp.create_model(
            config.architecture,
            encoder_name=config.encoder,
            encoder_weights=config.encoder_weights,
            encoder_depth=config.encoder_depth,
            in_channels=channels,
            classes=num_defects,
            **arguments,
        )
    except (KeyError, ValueError, TypeError, RuntimeError, OSError) as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(
            f"model.architecture={config.architecture} model.encoder={config.encoder} "
            f"model.encoder_weights={config.encoder_weights}: {reason}"
        ) from None
    _expect_few_defects(model)
    return model


def _expect_few_defects(model: nn.Module, share: float = 0.01) -> None:
    """Start from the belief that a pixel is defective with probability `share` (Lin et al., arXiv:1708.02002,
    section 3.3): from scratch, the first steps are otherwise spent on learning that most pixels are not."""
    head = model.get_submodule("segmentation_head")
    heads = [m for m in head.modules() if isinstance(m, nn.Conv2d)]
    if heads and heads[-1].bias is not None:
        nn.init.constant_(heads[-1].bias, math.log(share / (1 - share)))


def check_defects(focus: list[str], data: DataSet) -> None:
    """Raise UserError if a focused defect has no annotated training image: there is nothing to select. Warns
    of what no image of another split holds, and metrics will leave out."""
    for name, count in zip(data.defects, data.train.labels.sum(axis=0), strict=True):
        if name in focus and count == 0:
            raise UserError(f"defects.focus={name}: no training image of {data.name} holds this defect")
    for split, images in data.splits.items():
        for name, count in zip(data.defects, images.labels.sum(axis=0), strict=True):
            if count == 0 and split != "train":
                log.warning("%s: no image in %s holds it, it is not measured there", name, split)


def build_loss(config: c.LossConfig) -> SegmentationLoss:
    """The training loss."""
    if isinstance(config, c.FocalLossConfig):
        return Focal(config.gamma, config.alpha)
    if isinstance(config, c.DiceBceLossConfig):
        return DiceBce(config.dice_weight)
    return Bce()


def build_aggregations(config: c.AggregationConfig) -> list[Aggregation]:
    """The selection's own scheme first, then max and mean, which every histogram records."""
    arguments = {key: value for key, value in vars(config).items() if key != "name"}
    chosen = AGGREGATIONS[config.name](**arguments)
    return [chosen, *(other for other in (Max(), Mean()) if other.name != chosen.name)]


def resolve_beta(config: c.BetaConfig, labels: np.ndarray, focus: list[int]) -> float:
    """beta.value, or for auto the beta that keeps `margin` times the share of focused images."""
    if config.value is not None:
        return config.value
    share = float(labels[:, focus].any(axis=1).mean())
    return beta_for_kept_fraction(min(1.0, max(config.margin * share, 1.0 / len(labels))))


def build_policy(config: c.SelectionConfig, beta: float, focus: list[int], labels: np.ndarray) -> Policy:
    """What an epoch keeps."""
    if isinstance(config, c.RandomSelection):
        return Random(beta if config.fraction is None else None, config.fraction)
    if isinstance(config, c.BalancedSelection):
        return Balanced(np.any(labels, axis=1), config.healthy_ratio)
    policies = {"none": Everything, "selective": Selective, "per_defect": PerDefect}
    if config.name not in policies:
        raise UserError(
            f"selection.name={config.name}: must be none, selective, per_defect, random, balanced"
        )
    return Everything() if config.name == "none" else policies[config.name](beta, focus)


def build_staleness(config: c.StalenessConfig) -> Staleness:
    """When images are scored."""
    if isinstance(config, c.ReuseStaleness):
        return Reuse(config.refresh_fraction)
    return Periodic(config.every, only_seen=config.name in ("smart", "stale_smart"))


def build_sampler(config: c.Config, data: DataSet, schemes: tuple[str, ...]) -> SelectiveSampler:
    """Score book, policy, staleness and candidates of a run."""
    labels = data.train.labels
    focus = defect_indices(data.defects, config.defects.focus)
    rare = defect_indices(data.defects, config.data.rare)
    factor = 1.0 if config.upsampling.name == "none" else config.upsampling.factor
    beta = resolve_beta(config.beta, labels, focus)
    return SelectiveSampler(
        ScoreBook(len(data.train), len(data.defects), schemes),
        build_policy(config.selection, beta, focus, labels),
        build_staleness(config.staleness),
        seed=config.seed,
        candidates=candidate_list(labels, rare, factor),
        warmup_epochs=config.selection.warmup_epochs,
    )


def build_optimizer(config: c.OptimizerConfig, model: nn.Module) -> torch.optim.Optimizer:
    """SGD or AdamW over all parameters."""
    if isinstance(config, c.SgdConfig):
        return torch.optim.SGD(
            model.parameters(),
            config.lr,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
            nesterov=config.nesterov and config.momentum > 0,
        )
    return torch.optim.AdamW(model.parameters(), config.lr, weight_decay=config.weight_decay)


def build_evaluator(
    config: c.Config, defects: Sequence[str], compute: Compute, shape: tuple[int, int]
) -> Evaluator:
    """How splits are measured. shape: height and width of the data set's images."""
    return Evaluator(
        defects,
        build_loss(config.loss),
        compute,
        images_at_once(config, config.evaluation.batch_size, shape),
        config.trainer.precision,
        config.evaluation.threshold,
        config.evaluation.min_area,
        tuple(config.evaluation.iou_thresholds),
    )


def build_probe(
    config: c.Config, model: nn.Module, loss: SegmentationLoss, compute: Compute
) -> GradientProbe | None:
    """What compares the gradients of high-loss, random and low-loss images, or None."""
    settings = config.gradients
    if settings.every == 0:
        return None
    chosen = build_aggregations(config.aggregation)[0]
    return GradientProbe(
        model,
        loss,
        chosen,
        compute,
        batch=settings.batch,
        fraction=settings.fraction,
        repeats=settings.repeats,
        chunk=config.scoring.batch_size,
        seed=config.seed,
    )


def build_trainer(config: c.Config, model: nn.Module, data: DataSet, progress: Progress) -> Trainer:
    """Everything a run needs, wired together; `model` is moved to the device."""
    cost = image_cost(config, model, data.train.image_shape)
    compute = Compute(config.trainer.device, config.trainer.channels_last, data.mean, data.std)
    model = compute.place(model)
    whole = whole_images(config, model, compute)
    loss = build_loss(config.loss)
    scorer = Scorer(
        whole,
        loss,
        build_aggregations(config.aggregation),
        compute,
        images_at_once(config, config.scoring.batch_size, data.train.image_shape),
        config.scoring.precision,
        config.scoring.scale_factor,
        config.seed,
    )
    augmentation = Augmentation(config.augmentation.transforms, config.seed)
    trainer = config.trainer
    return Trainer(
        model=model,
        loss=loss,
        optimizer=build_optimizer(config.optimizer, model),
        data=data,
        loader=TrainLoader(
            data.train, augmentation, trainer.batch_size, trainer.workers, training_tiles(config, data)
        ),
        sampler=build_sampler(config, data, scorer.schemes),
        scorer=scorer,
        evaluator=build_evaluator(config, data.defects, compute, data.train.image_shape),
        budget=Budget(config.budget.epochs, config.budget.compute, config.budget.time_s),
        ledger=Ledger(len(data.train), cost),
        compute=compute,
        schedule=Schedule(config.scheduler.name, config.scheduler.warmup, config.scheduler.final),
        precision=trainer.precision,
        clip_norm=config.optimizer.clip_norm,
        evaluate_every=config.evaluation.every,
        evaluate_count=config.evaluation.count,
        monitor_every=config.scoring.monitor_every,
        probe=build_probe(config, model, loss, compute),
        probe_every=max(config.gradients.every, 1),
        progress=progress,
        whole=whole,
    )
