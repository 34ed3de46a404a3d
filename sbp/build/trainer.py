"""The bridge from config to objects: one function per part, plain values in, ready objects out."""

import logging
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from sbp import config as c
from sbp.build.parallel_scoring import parallel_scoring
from sbp.build.tiles import image_cost, images_at_once, selection_units, training_tiles, whole_images
from sbp.config.schemas import in_group, make, registered
from sbp.data.augmentation import Augmentation
from sbp.data.dataset import DataSet
from sbp.data.loader import TrainLoader
from sbp.data.truth import lookalikes, unmarked
from sbp.data.units import SelectionUnits
from sbp.engine.batch_norm import share_batch_norm
from sbp.engine.budget import Ledger
from sbp.engine.callbacks import Callback, ScoreMonitor
from sbp.engine.classification import ClassEvaluator
from sbp.engine.device import Compute
from sbp.engine.evaluation import Evaluator, ValidationSchedule
from sbp.engine.gradients import GradientProbe
from sbp.engine.in_batch import BatchChoice, ChosenImages, WholeBatches
from sbp.engine.losses import SegmentationLoss, defines, says
from sbp.engine.ranks import ALONE, Ranks
from sbp.engine.scoring import Scorer
from sbp.engine.trainer import Trainer
from sbp.engine.weight_average import moving_average
from sbp.errors import UserError
from sbp.metrics import names
from sbp.metrics.tasks import task_of
from sbp.selection import (
    Aggregation,
    InBatch,
    Max,
    Mean,
    Policy,
    ScoreBook,
    SelectiveSampler,
    beta_for_kept_fraction,
)
from sbp.selection.upsampling import candidate_list, defect_indices
from sbp.utils.progress import Progress

log = logging.getLogger("sbp")


def build_model(config: c.Config, num_defects: int) -> nn.Module:
    """The network, with one logit map per defect. Raises UserError for what it cannot be built from."""
    with in_group("model"):
        return make("model", config.model).build(config.data.channels, num_defects)


def check_defects(focus: list[str], data: DataSet) -> None:
    """Raise UserError if a focused defect has no annotated training image: there is nothing to select. Warns
    of what no image of another split holds, and metrics will leave out."""
    for split, images in data.splits.items():
        for name, held in zip(data.defects, images.labels.sum(axis=0), strict=True):
            if not held and split != "train":
                log.warning("%s: no image in %s holds it, it is not measured there", name, split)
            elif not held and name in focus:
                raise UserError(f"defects.focus={name}: no training image of {data.name} holds this defect")


def build_aggregations(config: c.Config) -> list[Aggregation]:
    """The selection's own scheme first, then max and mean, which every histogram records. A scheme that moves
    the image stands alone: the others would be recorded for images that they never saw; and where there is no
    map, they say the same."""
    chosen: Aggregation = make("aggregation", config.aggregation)
    if chosen.moves_image or not task_of(registered("loss", config.loss.name)).has_maps:
        return [chosen]
    return [chosen, *(other for other in (Max(), Mean()) if other.name != chosen.name)]


def resolve_beta(config: c.Config, labels: np.ndarray, focus: list[int]) -> float:
    """beta.value, or for auto the beta that keeps `margin` times the share of focused images, or tiles where
    `labels` (N, D) are theirs."""
    if config.beta.value is not None:
        return config.beta.value
    share = float(labels[:, focus].any(axis=1).mean())
    return beta_for_kept_fraction(min(1.0, max(config.beta.margin * share, 1.0 / len(labels))))


def build_sampler(
    config: c.Config, data: DataSet, units: SelectionUnits, schemes: tuple[str, ...]
) -> SelectiveSampler:
    """Score book, policy, staleness and candidates of a run."""
    labels = units.labels
    focus = defect_indices(data.defects, config.defects.focus)
    rare = defect_indices(data.defects, config.data.rare)
    factor = 1.0 if config.upsampling.name == "none" else config.upsampling.factor
    policy = make("selection", config.selection).for_labels(labels)
    if policy.why:
        log.info("selection=%s: %s", config.selection.name, policy.why)
    return SelectiveSampler(
        ScoreBook(len(units), len(data.defects), schemes),
        policy,
        make("staleness", config.staleness),
        seed=config.seed,
        candidates=candidate_list(labels, rare, factor),
        warmup_epochs=config.selection.warmup_epochs,
        beta=resolve_beta(config, labels, focus),
        focus=focus,
        labels=labels,
        guard=make("guard", config.guard),
    )


def known_groups(data: DataSet, units: SelectionUnits) -> dict[str, np.ndarray]:
    """What the data set knows of its units beyond their annotation, (N,) bool by name."""
    groups = {
        names.LOOKALIKE: lookalikes(data.train, units),
        names.UNMARKED: unmarked(data.train, units),
    }
    return {name: group for name, group in groups.items() if group is not None}


def build_evaluator(
    config: c.Config,
    defects: Sequence[str],
    compute: Compute,
    shape: tuple[int, int],
    ranks: Ranks = ALONE,
) -> Evaluator | ClassEvaluator:
    """How splits are measured. shape: height and width of the data set's images. ranks: who measures."""
    if not task_of(registered("loss", config.loss.name)).has_maps:
        loss, at_once = make("loss", config.loss), config.evaluation.batch_size
        return ClassEvaluator(defects, loss, compute, at_once, config.trainer.precision, ranks)
    return map_evaluator(config, defects, compute, shape, ranks)


def map_evaluator(
    config: c.Config,
    defects: Sequence[str],
    compute: Compute,
    shape: tuple[int, int],
    ranks: Ranks = ALONE,
) -> Evaluator:
    """As `build_evaluator`, for segmentation."""
    settings, loss, precision = config.evaluation, make("loss", config.loss), config.trainer.precision
    batch, thresholds = images_at_once(config, settings.batch_size, shape), tuple(settings.iou_thresholds)
    return Evaluator(
        defects, loss, compute, batch, precision, settings.threshold, settings.min_area, thresholds, ranks
    )


def build_callbacks(
    config: c.Config, model: nn.Module, loss: SegmentationLoss, compute: Compute
) -> list[Callback]:
    """What measures beside the training, before anything records it."""
    callbacks: list[Callback] = []
    if config.scoring.monitor_every:
        callbacks.append(ScoreMonitor(config.scoring.monitor_every))
    if config.gradients.every:
        chosen, chunk = build_aggregations(config)[0], config.scoring.batch_size
        settings = {"seed": config.seed, **vars(config.gradients)}
        callbacks.append(GradientProbe(model, loss, chosen, compute, chunk=chunk, **settings))
    return callbacks


def check_loss(loss: SegmentationLoss) -> None:
    """Raise UserError for a loss that several processes cannot compute together."""
    if not says(type(loss), "sums_over_ranks"):
        raise UserError(
            f"loss={loss.name} with several processes: its reduce must add up over the batch with "
            f"sbp.engine.ranks.batch_sum, and {defines(type(loss)).__name__} say so with "
            "sums_over_ranks = True"
        )


def set_threads(config: c.Config, processes: int = 1) -> None:
    """Tell torch of trainer.threads; null leaves its own choice, divided by the processes that train together
    on this machine, less the threads of a scoring process: threads without a core would be waited for."""
    scoring = config.scoring.threads if config.scoring.parallel == "process" else 0
    threads = config.trainer.threads
    if not threads and (processes > 1 or scoring):
        threads = max(1, torch.get_num_threads() // processes - scoring)
    if threads:
        torch.set_num_threads(threads)


def build_trainer(
    config: c.Config, model: nn.Module, data: DataSet, progress: Progress, ranks: Ranks = ALONE
) -> Trainer:
    """Everything a run needs, wired together; `model` is moved to the device. ranks: those that train it."""
    shape, scoring, trainer = data.train.image_shape, config.scoring, config.trainer
    tiles = training_tiles(config, data)
    units = selection_units(data, tiles)
    cost = image_cost(config, model, shape)
    compute = Compute(ranks.device(trainer.device), trainer.channels_last, data.mean, data.std)
    model = compute.place(model)
    if ranks.count > 1:
        model = share_batch_norm(model)
    whole = scored = whole_images(config, model, compute)
    average = moving_average(model, scoring.ema_decay) if scoring.weights == "ema" else None
    if average is not None:
        scored = whole_images(config, average.module, compute)
    loss = make("loss", config.loss)
    aggregations, batch = build_aggregations(config), images_at_once(config, scoring.batch_size, shape)
    scale, seed = scoring.scale_factor, config.seed
    scorer = Scorer(scored, loss, aggregations, compute, batch, scoring.precision, scale, seed, units.grid)
    augmentation = Augmentation(config.augmentation.transforms, config.seed)
    sampler = build_sampler(config, data, units, scorer.schemes)
    return Trainer(
        model=model,
        loss=loss,
        optimizer=make("optimizer", config.optimizer).build(model.parameters()),
        data=data,
        units=units,
        loader=TrainLoader(data.train, augmentation, trainer.batch_size, trainer.workers, tiles, ranks.share),
        sampler=sampler,
        scorer=scorer,
        evaluator=build_evaluator(config, data.defects, compute, shape, ranks),
        budget=config.budget,
        ledger=Ledger(data.epoch_images, cost),
        compute=compute,
        schedule=config.scheduler,
        validation=ValidationSchedule(config.evaluation.every, config.evaluation.count),
        precision=trainer.precision,
        clip_norm=config.optimizer.clip_norm,
        callbacks=build_callbacks(config, model, loss, compute),
        progress=progress,
        whole=whole,
        average=average,
        groups=known_groups(data, units),
        parallel=parallel_scoring(scoring, scorer, data) if sampler.policy.needs_scores else None,
        in_batch=in_batch(sampler.policy, scorer, model, config, ranks),
        ranks=ranks,
    )


def in_batch(
    policy: Policy, scorer: Scorer, model: nn.Module, config: c.Config, ranks: Ranks = ALONE
) -> BatchChoice:
    """What of each batch is trained on. model: what is trained, where scorer has it put tiles together."""
    if not isinstance(policy, InBatch):
        return WholeBatches()
    precision, whole = config.trainer.precision, config.selection.warmup_epochs if policy.warms_up else 0
    return ChosenImages(policy, model, scorer.loss, scorer.compute, precision, config.seed, ranks, whole)
