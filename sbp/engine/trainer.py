"""The training loop: score, select, train, evaluate, until the budget is spent."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from sbp.data.dataset import DataSet
from sbp.data.loader import Batch, TrainLoader
from sbp.engine.budget import Budget, Ledger, learning_rate_factor
from sbp.engine.device import Compute
from sbp.engine.epoch import EpochInProgress
from sbp.engine.evaluation import Evaluator
from sbp.engine.gradients import GradientProbe
from sbp.engine.losses import SegmentationLoss
from sbp.engine.scoring import Scorer, aggregate_all
from sbp.engine.stopwatch import Stopwatch
from sbp.errors import TrainingDiverged
from sbp.selection import SelectiveSampler
from sbp.utils.progress import Progress
from sbp.utils.signals import defer_signals

SPENT = 1 - 1e-9
"""Share of the budget from which it counts as used up; leaves room for rounding."""


@dataclass(frozen=True)
class Schedule:
    """Learning rate over the budget; see learning_rate_factor."""

    name: str = "cosine"
    warmup: float = 0.0
    final: float = 0.0


@dataclass(frozen=True)
class EpochRecord:
    """What one epoch left behind: its metrics, and the scheme's scores (S, N, D) if images were scored."""

    epoch: int
    metrics: dict[str, float]
    scores: np.ndarray | None


@dataclass
class Trainer:
    """Trains a model under a budget; `epochs()` yields a record per epoch.

    The sampler says what to score and what to train on. With `monitor_every` above 0, a policy that needs
    no scores has everything scored every so many epochs for the record, at no charge to the budget; the
    gradient probe, if there is one, measures every `probe_every` epochs, before the epoch trains.
    Validation comes every `evaluate_every` epochs, or `evaluate_count` times spread over the budget, at the
    ends of epochs, and after the last one. whole: what applies `model` to whole images where it is trained
    on tiles of them (Tiled); scorer has the same. after_step is called after every training step.
    """

    model: nn.Module
    loss: SegmentationLoss
    optimizer: torch.optim.Optimizer
    data: DataSet
    loader: TrainLoader
    sampler: SelectiveSampler
    scorer: Scorer
    evaluator: Evaluator
    budget: Budget
    ledger: Ledger
    compute: Compute
    schedule: Schedule = field(default_factory=Schedule)
    precision: str = "fp32"
    clip_norm: float | None = None
    evaluate_every: int = 1
    evaluate_count: int | None = None
    monitor_every: int = 0
    probe: GradientProbe | None = None
    probe_every: int = 1
    progress: Progress = field(default_factory=Progress)
    whole: nn.Module | None = None
    after_step: Callable[[], None] = lambda: None

    def __post_init__(self) -> None:
        self.peak_rates = [group["lr"] for group in self.optimizer.param_groups]
        self.work_s = 0.0  # scoring, training and waiting for data: what the time budget counts
        self.epoch = 0
        self.current: EpochInProgress | None = None

    def epochs(self, done: Callable[[EpochRecord], None] = lambda _: None) -> Iterator[EpochRecord]:
        """Train until the budget is spent. Raises TrainingDiverged at a loss that is not finite.

        done(record) and the step to the next epoch are one, as far as SIGTERM and SIGINT are concerned.
        """
        while not self._finished(self.epoch):
            record = self._run_epoch()
            with defer_signals():
                self.epoch, self.current = self.epoch + 1, None
                done(record)
            yield record

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain values from which `load_state_dict` goes on, bit for bit on a CPU; right between
        any two steps of an epoch, and wherever a signal can interrupt."""
        book = self.sampler.book.state_dict()
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "book": {k: torch.from_numpy(v) if isinstance(v, np.ndarray) else v for k, v in book.items()},
            "ledger": {"trained": self.ledger.trained, "scored": self.ledger.scored},
            "work_s": self.work_s,
            "epoch": self.epoch,
            "current": None if self.current is None else self.current.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Become what `state_dict` described. Raises ValueError or RuntimeError if it is of another model."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        book = state["book"]
        self.sampler.book.load_state_dict(
            {k: v.numpy() if isinstance(v, torch.Tensor) else v for k, v in book.items()}
        )
        self.ledger.trained, self.ledger.scored = state["ledger"]["trained"], state["ledger"]["scored"]
        self.work_s, self.epoch = state["work_s"], state["epoch"]
        self.current = None if state["current"] is None else EpochInProgress.from_state(state["current"])

    def _finished(self, epoch: int) -> bool:
        if self._used(epoch) >= SPENT:
            return True
        # A scoring pass that eats all that is left would train nobody.
        scoring = self.ledger.scoring_cost(len(self.sampler.images_to_score(epoch)))
        return scoring > 0 and not self.budget.allows(self.ledger.baseline_epochs + scoring)

    def _used(self, epochs: float) -> float:
        return self.budget.progress(epochs, self.ledger.baseline_epochs, self.work_s)

    def _run_epoch(self) -> EpochRecord:
        """Do what the epoch still lacks."""
        if self.current is None:
            self.current = EpochInProgress(self.epoch)
        now, epoch = self.current, self.epoch
        watch = Stopwatch(self.compute.synchronize, now.seconds)
        self._score(now, watch)
        self._monitor(now, watch)
        self._probe(now, watch)
        self._plan(now)
        metrics = self._train(now, watch)
        metrics |= self._cost_metrics(now) | (now.probed or {})
        if self._evaluation_is_due(epoch, now.used_before):
            with watch.section("validation"):
                metrics |= self.evaluate("val")
        metrics |= {f"time/{name}_s": seconds for name, seconds in watch.seconds.items()}
        metrics |= {"time/epoch_s": watch.total, "time/work_s": self.work_s}
        self.progress.epoch_done(epoch, metrics)
        scores = self.sampler.book.scores if now.scored or now.monitored else None
        return EpochRecord(epoch, metrics, scores)

    def evaluate(self, split: str) -> dict[str, float]:
        """Metrics of a split, for the model as it is."""
        model = self.model if self.whole is None else self.whole
        return self.evaluator.evaluate(model, self.data.splits[split], split)

    def _score(self, now: EpochInProgress, watch: Stopwatch) -> None:
        if now.scored is not None:
            return
        due = self.sampler.images_to_score(now.epoch)
        scores = None
        with watch.section("scoring"):
            if len(due):
                self.progress.stage(now.epoch, "scoring", len(due))
                scores = self.scorer.score(self.data.train, due, now.epoch, self.progress.advance)
        with defer_signals():
            if scores is not None:
                self.sampler.record_scores(due, scores, now.epoch)
            self.ledger.scored += len(due)
            self.work_s += watch.seconds["scoring"]
            now.scored = len(due)

    def _monitor(self, now: EpochInProgress, watch: Stopwatch) -> None:
        if now.monitored is not None:
            return
        needed = self.monitor_every > 0 and not self.sampler.policy.needs_scores
        if not needed or now.epoch % self.monitor_every:
            now.monitored = False
            return
        everything = np.arange(len(self.data.train))
        with watch.section("monitoring"):
            scores = self.scorer.score(self.data.train, everything, now.epoch)
        with defer_signals():
            self.sampler.record_scores(everything, scores, now.epoch)
            now.monitored = True

    def _probe(self, now: EpochInProgress, watch: Stopwatch) -> None:
        if now.probed is not None:
            return
        if self.probe is None or now.epoch % self.probe_every:
            now.probed = {}
            return
        with watch.section("monitoring"):
            now.probed = self.probe.measure(self.data.train, now.epoch)

    def _plan(self, now: EpochInProgress) -> None:
        if now.indices is None:
            plan = self.sampler.plan(now.epoch)
            with defer_signals():
                now.indices, now.num_candidates = plan.indices, plan.num_candidates
                now.used_before = self._used(now.epoch)

    def _evaluation_is_due(self, epoch: int, used_before: float) -> bool:
        """used_before: share of the budget used when the epoch began."""
        if self._finished(epoch + 1):
            return True
        if self.evaluate_count is None:
            return (epoch + 1) % self.evaluate_every == 0
        used = self._used(epoch + 1)
        return int(used * self.evaluate_count + 1e-9) > int(used_before * self.evaluate_count + 1e-9)

    def _train(self, now: EpochInProgress, watch: Stopwatch) -> dict[str, float]:
        if not now.noted:
            self._steps(now, watch)
        values = torch.stack(now.losses).double().cpu().numpy()
        if not np.isfinite(values).all():  # on an accelerator, where a look at every step would stall it
            step = int(np.flatnonzero(~np.isfinite(values))[0])
            raise TrainingDiverged(now.epoch, step, self._names(now.trained[step]))
        if not now.noted:
            with defer_signals():
                self.sampler.record_training(self._images(now.trained), now.epoch)
                now.noted = True
        weights = [len(indices) for indices in now.trained]
        return {
            "train/loss": float(np.average(values, weights=weights)),
            "train/lr": self.optimizer.param_groups[0]["lr"],
            "train/images": sum(weights) / self.loader.tiles_per_image,
        }

    def _steps(self, now: EpochInProgress, watch: Stopwatch) -> None:
        """Train on the epoch's batches that are left, as far as the budget allows."""
        assert now.indices is not None
        self.model.train()
        self.progress.stage(now.epoch, "training", len(now.indices), kept=now.kept_fraction)
        started, work_before = time.perf_counter(), self.work_s
        batches = self.loader.epoch(now.epoch, now.indices, skip=len(now.trained))
        steps = len(self.loader.batches)
        used = self._used(now.epoch + len(now.trained) / steps) if now.trained else 0.0
        while used < SPENT and (batch := self._next(batches, watch)) is not None:
            images = len(batch.indices) / self.loader.tiles_per_image
            with defer_signals():
                with watch.section("training"):
                    self._set_learning_rate(self._used(now.epoch + len(now.trained) / steps))
                    now.losses.append(self._step(batch, now.epoch, len(now.trained)))
                now.trained.append(batch.indices)
                self.ledger.trained += images
                self.work_s = work_before + time.perf_counter() - started
            used = self._used(now.epoch + len(now.trained) / steps)
            self.progress.advance(images, used)
            self.after_step()

    def _images(self, trained: list[np.ndarray]) -> np.ndarray:
        """Numbers of the images trained on, each as often as it came."""
        indices = np.concatenate(trained)
        if self.loader.tiles_per_image == 1:
            return indices
        images, tiles = np.unique(indices, return_counts=True)
        return np.repeat(images, np.ceil(tiles / self.loader.tiles_per_image).astype(int))

    def _next(self, batches: Iterator[Batch], watch: Stopwatch) -> Batch | None:
        with watch.section("data"):
            return next(batches, None)

    def _step(self, batch: Batch, epoch: int, step: int) -> torch.Tensor:
        images, target = self.compute.inputs(batch.images), self.compute.targets(batch.masks)
        with self.compute.autocast(self.precision):
            logits = self.model(images)
        logits = logits.float()
        loss_map = self.loss.loss_map(logits, target)
        value = self.loss.reduce(loss_map, logits, target)
        if self.compute.device.type == "cpu" and not value.isfinite():
            raise TrainingDiverged(epoch, step, self._names(batch.indices))
        self.optimizer.zero_grad(set_to_none=True)
        value.backward()
        if self.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.clip_norm)
        self.optimizer.step()
        if self.sampler.writes_back:
            scores = aggregate_all(self.scorer.aggregations, loss_map.detach(), target)
            self.sampler.record_scores(batch.indices, scores.cpu().numpy(), epoch)
        return value.detach()

    def _set_learning_rate(self, used: float) -> None:
        factor = learning_rate_factor(self.schedule.name, used, self.schedule.warmup, self.schedule.final)
        for group, peak in zip(self.optimizer.param_groups, self.peak_rates, strict=True):
            group["lr"] = peak * factor

    def _names(self, indices: np.ndarray) -> list[str]:
        return [self.data.train.names[i] for i in indices]

    def _cost_metrics(self, now: EpochInProgress) -> dict[str, float]:
        assert now.scored is not None
        labels = self.data.train.labels[now.indices]
        several = labels.sum(axis=1) > 1
        metrics = {
            "train/kept_fraction": now.kept_fraction,
            "train/share/healthy": float((~labels.any(axis=1)).mean()),
            "train/share/several": float(several.mean()),
            "cost/baseline_epochs": self.ledger.baseline_epochs,
            "cost/flops": self.ledger.flops,
            "cost/scored_fraction": now.scored / len(self.data.train),
        }
        for d, defect in enumerate(self.data.defects):
            metrics[f"train/share/{defect}"] = float((labels[:, d] & ~several).mean())
        return metrics
