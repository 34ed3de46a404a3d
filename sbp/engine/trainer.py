"""The training loop: score, select, train, evaluate, until the budget is spent."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from sbp.data.dataset import DataSet
from sbp.data.loader import Batch, TrainLoader
from sbp.data.units import SelectionUnits
from sbp.engine.budget import Budget, Ledger, Schedule
from sbp.engine.callbacks import Callback, EpochRecord
from sbp.engine.classification import ClassEvaluator
from sbp.engine.device import Compute
from sbp.engine.epoch import EpochInProgress, Stopwatch, composition
from sbp.engine.evaluation import Evaluator, ValidationSchedule
from sbp.engine.in_batch import BatchChoice, WholeBatches
from sbp.engine.losses import SegmentationLoss
from sbp.engine.parallel_scoring import ParallelScoring, Scores
from sbp.engine.ranks import ALONE, Ranks, over_ranks
from sbp.engine.scoring import Scorer, aggregate_all
from sbp.errors import TrainingDiverged
from sbp.metrics import names
from sbp.metrics.suspects import suspect_metrics
from sbp.selection import SelectiveSampler
from sbp.utils.progress import Progress
from sbp.utils.signals import defer_signals

SPENT = 1 - 1e-9
"""Share of the budget from which it counts as used up; leaves room for rounding."""


@dataclass
class Trainer:
    """Trains a model under a budget: `fit` does it all, `epochs` yields a record per epoch.

    The sampler says what to score and what to train on. Each part of an epoch is done once, also across a
    restart, and notes what it did in `current` while signals wait. Callbacks go along, in their order.
    whole: what applies `model` to whole images where it is trained on tiles (Tiled); scorer has the same.
    units: what the sampler and its book count: images, or tiles where the scorer has a grid.
    parallel: scores beside training, for a later epoch's draw; None: right before the draw.
    average: a moving average of the weights, kept up to date, for a scorer that scores with it.
    groups: what is known of units beyond their annotation, (N,) bool by name, for the record.
    in_batch: what of each batch is trained on.
    ranks: several processes train `model` together, each with such a trainer, in step; its BatchNorm and its
    evaluator must know of them. The batch size is that of all of them.
    """

    model: nn.Module
    loss: SegmentationLoss
    optimizer: torch.optim.Optimizer
    data: DataSet
    units: SelectionUnits
    loader: TrainLoader
    sampler: SelectiveSampler
    scorer: Scorer
    evaluator: Evaluator | ClassEvaluator
    budget: Budget
    ledger: Ledger
    compute: Compute
    schedule: Schedule = field(default_factory=Schedule)
    validation: ValidationSchedule = field(default_factory=ValidationSchedule)
    precision: str = "fp32"
    clip_norm: float | None = None
    callbacks: list[Callback] = field(default_factory=list)
    progress: Progress = field(default_factory=Progress)
    whole: nn.Module | None = None
    parallel: ParallelScoring | None = None
    average: AveragedModel | None = None
    groups: Mapping[str, np.ndarray] = field(default_factory=dict)
    in_batch: BatchChoice = field(default_factory=WholeBatches)
    ranks: Ranks = ALONE

    def __post_init__(self) -> None:
        self.training_model = self.model if self.ranks.count == 1 else over_ranks(self.model)
        self.callbacks = [c for c in self.callbacks if self.ranks.leads or c.on_every_rank]
        self.in_step = False  # true for ever if a step is broken off: weights may be half changed
        self.peak_rates = [group["lr"] for group in self.optimizer.param_groups]
        self.work_s = 0.0  # scoring, training and waiting for data: what the time budget counts
        self.epoch = 0
        self.current: EpochInProgress | None = None
        self.last = EpochRecord(-1, {}, None)

    def fit(self) -> dict[str, float]:
        """Train until the budget is spent, from the beginning or from a loaded state.

        Returns the last epoch's metrics and what callbacks measure at the end. Raises as `epochs`.
        """
        try:
            for callback in self.callbacks:
                callback.on_fit_start(self)
            for _ in self.epochs():
                pass
            final = EpochRecord(self.last.epoch, {}, None)
            for callback in self.callbacks:
                callback.on_fit_end(self, final)
            return self.last.metrics | final.metrics
        except (KeyboardInterrupt, SystemExit):
            for callback in self.callbacks:
                callback.on_interrupt(self)
            raise
        finally:
            self.progress.close()
            if self.parallel is not None:
                self.parallel.close()

    def epochs(self) -> Iterator[EpochRecord]:
        """Train epoch by epoch. Raises TrainingDiverged at a loss that is not finite. For signals, what
        callbacks do at an epoch's end and the step to the next one are one."""
        while not self._finished(self.epoch):
            record = self._run_epoch()
            with defer_signals():
                self.epoch, self.current, self.last = self.epoch + 1, None, record
                for callback in self.callbacks:
                    callback.on_epoch_end(self, record)
            yield record

    def _run_epoch(self) -> EpochRecord:
        """Do what the epoch still lacks."""
        now = self.current = self.current or EpochInProgress(self.epoch)
        watch = Stopwatch(self.compute.synchronize, now.seconds)
        self._score(now, watch)
        self._measure(now, watch)
        self._draw(now)
        self._score_beside(now)
        metrics = self._train(now, watch)
        metrics |= self._cost_metrics(now) | (now.measured or {})
        used = self._used(now.epoch + 1)
        if self._finished(now.epoch + 1) or self.validation.due(now.epoch, now.used_before, used):
            with watch.section("validation"):
                metrics |= self.evaluate("val")
        metrics |= watch.metrics() | {names.WORK_S: self.work_s}
        self.progress.epoch_done(now.epoch, metrics)
        return EpochRecord(now.epoch, metrics, self.sampler.book.scores if now.has_scores else None)

    def _score(self, now: EpochInProgress, watch: Stopwatch) -> None:
        """The scores that the draw wants anew: from a pass right now, or one that ran beside training."""
        if now.scored is not None:
            return
        due = self._due_now(now.epoch)
        fresh, late = None, None
        with watch.section("scoring"):
            if len(due):
                self.progress.stage(now.epoch, "scoring", len(due))
                fresh = self.score(due, now.epoch, self.progress.advance)
            elif self.parallel is not None:
                late = self.parallel.take(now.epoch, needed=self._nothing_scored())
        with defer_signals():
            if fresh is not None:
                self.sampler.record_scores(self.units.of_images(due), fresh, now.epoch)
            if late is not None:
                self._take_over(late)
            self.ledger.scored += len(due)
            self.work_s = self._agreed(self.work_s + watch.seconds["scoring"])
            now.scored, now.has_scores = len(due), len(due) > 0 or late is not None

    def score(
        self, indices: np.ndarray, epoch: int, progress: Callable[[int], None] | None = None
    ) -> np.ndarray:
        """Scores (S, n * T, D) of all T units of training images `indices` (n,), by all ranks together."""
        # a transform draws from one stream, image by image: it cannot be shared out
        moves = any(aggregation.moves_image for aggregation in self.scorer.aggregations)
        share = slice(None) if moves else self.ranks.share
        scores = self.scorer.score(self.data.train, indices[share], epoch, progress)
        if moves:
            return scores
        by_image = scores.reshape(len(scores), -1, self.units.per_image * scores.shape[2])
        return self._together(by_image).reshape(len(scores), -1, scores.shape[2])

    def _together(self, scores: np.ndarray) -> np.ndarray:
        """(S, n, D) of all images, from those of this rank's share."""
        return self.ranks.together(scores.transpose(1, 0, 2)).transpose(1, 0, 2)

    def _due_now(self, epoch: int) -> np.ndarray:
        """Images to score right before the draw: none where passes run beside training, but for the first."""
        if self.parallel is None or (self.parallel.job is None and self._nothing_scored()):
            return self._images_due(epoch)
        return np.empty(0, dtype=np.int64)

    def _images_due(self, epoch: int) -> np.ndarray:
        """Images to score for the draw of `epoch`: whole ones, of which any unit is due."""
        return self.units.images(self.sampler.images_to_score(epoch))

    def _nothing_scored(self) -> bool:
        return bool(self.sampler.book.never_scored.all())

    def _take_over(self, late: Scores) -> None:
        assert self.parallel is not None
        units = self.units.of_images(late.indices)
        self.sampler.record_scores(units, late.scores, late.epoch, late=True)
        self.parallel.taken()

    def _score_beside(self, now: EpochInProgress) -> None:
        """Begin the pass that a later draw is due, with the weights before the epoch's first step; not if the
        budget ends with this epoch."""
        if self.parallel is None or now.beside:
            return
        due = self._due_beside(now)
        with defer_signals():
            if len(due):
                self.parallel.start(self.scorer, due, now.epoch)
                self.ledger.scored += len(due)
                now.scored = (now.scored or 0) + len(due)
            now.beside = True

    def _due_beside(self, now: EpochInProgress) -> np.ndarray:
        assert self.parallel is not None
        assert now.indices is not None
        nobody = np.empty(0, dtype=np.int64)
        if self.parallel.job is not None:
            return nobody
        due = self._images_due(now.epoch + self.parallel.ahead)
        images = len(now.indices) / self.units.per_image
        spent = self.ledger.baseline_epochs + images / self.ledger.num_images
        spent += self.ledger.scoring_cost(len(due))
        ends = self.budget.progress(now.epoch + 1, spent, self.work_s) >= SPENT
        return nobody if ends else due

    def _measure(self, now: EpochInProgress, watch: Stopwatch) -> None:
        """What callbacks have to measure between scoring and training."""
        if now.measured is None:
            measured: dict[str, float] = {}
            with watch.section("monitoring"):
                for callback in self.callbacks:
                    measured.update(callback.before_training(self))
            now.measured = measured

    def _draw(self, now: EpochInProgress) -> None:
        """Scores become a draw: the units that the epoch trains on."""
        if now.indices is None:
            plan = self.sampler.plan(now.epoch, self._used(now.epoch))
            with defer_signals():
                self.sampler.observe(plan.indices)
                now.indices, now.num_candidates = plan.indices, plan.num_candidates
                now.weights, now.rate = plan.weights, plan.rate
                now.used_before = self._used(now.epoch)

    def _train(self, now: EpochInProgress, watch: Stopwatch) -> dict[str, float]:
        if not now.noted:
            self._steps(now, watch)
        values = torch.stack(now.losses).double().cpu().numpy()
        if not np.isfinite(values).all():  # on an accelerator, where a look at every step would stall it
            step = int(np.flatnonzero(~np.isfinite(values))[0])
            raise self._diverged(now.epoch, step, now.trained[step])
        if not now.noted:
            with defer_signals():
                units = now.trained_units(self.loader.tiles_per_image // self.units.per_image)
                self.sampler.record_training(units, now.epoch)
                now.noted = True
        weights = [len(indices) for indices in now.trained]
        return {
            names.TRAIN_LOSS: float(np.average(values, weights=weights)),
            names.LEARNING_RATE: self.optimizer.param_groups[0]["lr"],
            names.TRAIN_IMAGES: sum(weights) / self.loader.tiles_per_image,
        }

    def _steps(self, now: EpochInProgress, watch: Stopwatch) -> None:
        """Train on the epoch's batches that are left, as far as the budget allows."""
        assert now.indices is not None
        self.model.train()
        self.progress.stage(now.epoch, "training", math.ceil(len(now.indices) / self.units.per_image))
        started, work_before = time.perf_counter(), self.work_s
        batches = self.loader.epoch(now.epoch, now.indices, skip=len(now.trained))
        steps = len(self.loader.batches)
        used = self._used(now.epoch + len(now.trained) / steps) if now.trained else 0.0
        while used < SPENT and (batch := self._next(batches, watch)) is not None:
            images = len(batch.indices) / self.loader.tiles_per_image
            with defer_signals():
                batch = self._choose(batch, now, watch)
                with watch.section("training"):
                    self._set_learning_rate(self._used(now.epoch + len(now.trained) / steps), now.rate)
                    self.in_step = True
                    weights = now.weights_of(batch.indices)
                    now.losses.append(self._step(batch, now.epoch, len(now.trained), weights))
                    self.in_step = False
                now.trained.append(batch.indices)
                self.ledger.trained += len(batch.indices) / self.loader.tiles_per_image
                self.work_s = self._agreed(work_before + time.perf_counter() - started)
            used = self._used(now.epoch + len(now.trained) / steps)
            self.progress.advance(images, used)
            for callback in self.callbacks:
                callback.on_step_end(self)

    def _choose(self, batch: Batch, now: EpochInProgress, watch: Stopwatch) -> Batch:
        """What of a batch is trained on."""
        step, tiles = len(now.trained), self.loader.tiles_per_image
        with watch.section("scoring"):
            used = self._used(now.epoch + step / len(self.loader.batches))
            chosen, forwarded = self.in_batch(batch, now.epoch, step, used)
        self.ledger.forwarded += forwarded / tiles
        now.forwarded += forwarded / tiles
        now.left_out += (len(batch.indices) - len(chosen.indices)) * self.units.per_image / tiles
        return chosen

    def _next(self, batches: Iterator[Batch], watch: Stopwatch) -> Batch | None:
        with watch.section("data"):
            return next(batches, None)

    def _step(self, batch: Batch, epoch: int, step: int, weights: np.ndarray | None = None) -> torch.Tensor:
        images, (target, valid) = self.compute.inputs(batch.images), self.compute.targets(batch.masks)
        with self.ranks.one_batch():
            with self.compute.autocast(self.precision):
                logits = self.training_model(images)
            logits = logits.float()
            loss_map = self.loss.loss_map(logits, target)
            if weights is None:
                value = self.loss.reduce(loss_map, logits, target, valid)
            else:
                mine = self.compute.weights(weights[self.ranks.share])
                value = self.loss.reduce_weighted(mine, loss_map, logits, target, valid)
        if self.compute.device.type == "cpu" and not value.isfinite():
            raise self._diverged(epoch, step, batch.indices)
        self.optimizer.zero_grad(set_to_none=True)
        value.backward()
        if self.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.clip_norm)
        self.optimizer.step()
        if self.average is not None:
            self.average.update_parameters(self.model)
        if self.sampler.writes_back:
            scores = aggregate_all(self.scorer.aggregations, loss_map.detach(), target, valid)
            self.sampler.record_scores(batch.indices, self._together(scores.cpu().numpy()), epoch)
        return value.detach()

    def _agreed(self, seconds: float) -> float:
        """The leading rank's clock counts, where seconds decide when training ends."""
        return seconds if self.budget.time_s is None else self.ranks.told(seconds)

    def _set_learning_rate(self, used: float, rate: float) -> None:
        for group, peak in zip(self.optimizer.param_groups, self.peak_rates, strict=True):
            group["lr"] = peak * self.schedule.factor(used) * rate

    def evaluate(self, split: str) -> dict[str, float]:
        """Metrics of a split, for the model as it is."""
        model = self.model if self.whole is None else self.whole
        return self.evaluator.evaluate(model, self.data.splits[split], split)

    def _finished(self, epoch: int) -> bool:
        if self._used(epoch) >= SPENT:
            return True
        # A scoring pass that eats all that is left would train nobody.
        scoring = self.ledger.scoring_cost(len(self._due_now(epoch)))
        return scoring > 0 and not self.budget.allows(self.ledger.baseline_epochs + scoring)

    def _used(self, epochs: float) -> float:
        return self.budget.progress(epochs, self.ledger.baseline_epochs, self.work_s)

    def _diverged(self, epoch: int, step: int, indices: np.ndarray) -> TrainingDiverged:
        return TrainingDiverged(epoch, step, [self.units.name(self.data.train, unit) for unit in indices])

    def _cost_metrics(self, now: EpochInProgress) -> dict[str, float]:
        assert now.scored is not None
        return {
            names.KEPT_FRACTION: now.kept_fraction,
            **composition(self.units.labels[now.kept], self.data.defects),
            **{names.share(name): float(group[now.kept].mean()) for name, group in self.groups.items()},
            **suspect_metrics(self.sampler.suspects(), self.groups.get(names.UNMARKED)),
            names.BASELINE_EPOCHS: self.ledger.baseline_epochs,
            names.FLOPS: self.ledger.flops,
            names.SCORED_FRACTION: (now.scored + now.forwarded) / len(self.data.train),
        }
