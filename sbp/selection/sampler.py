"""The epoch's work list: what to score, what to train on. The piece to use in a training loop of your own."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from torch.utils.data import Sampler

from sbp.plugins.checks import require
from sbp.seeding import Purpose, generator
from sbp.selection.guard import Guard, NoGuard
from sbp.selection.policies import Everything, Selective
from sbp.selection.policy import Policy, SelectionContext
from sbp.selection.score_book import ScoreBook
from sbp.selection.staleness import Periodic, Staleness
from sbp.selection.strata import strata_of


@dataclass(frozen=True)
class EpochPlan:
    """The images one epoch trains on, in random order; an upsampled image may appear several times.

    weights: (N,) float32, by image number, what an image's loss counts; None: all of them 1. rate: what the
    learning rate is multiplied by.
    """

    indices: np.ndarray
    num_candidates: int
    weights: np.ndarray | None = None
    rate: float = 1.0

    @property
    def kept_fraction(self) -> float:
        """Share of the candidates that was kept, in (0, 1]."""
        return len(self.indices) / self.num_candidates


class SelectiveSampler(Sampler[int]):
    """Selective back-propagation over a score book, as a torch sampler.

    Each epoch: `images_to_score` names the images whose scores are due, `record_scores` takes them,
    `set_epoch` begins the epoch, iterating gives its images, and `record_training` notes them. All randomness
    comes from one stream per epoch (sbp.seeding), so that its draw depends on nothing but the seed, the epoch
    and the scores.

    book: one row per image. policy: what is kept. staleness: what is rescored. candidates: image indices
    with repetitions (upsampling); default every image once. warmup_epochs: epochs at the start that train
    on every candidate, for policies that warm up; with 0 the first epoch already selects. beta, focus,
    labels: what policies select by, see SelectionContext. guard: whose annotation is suspect; it needs
    labels. Raises ValueError for a value out of range.

    >>> from torch.utils.data import DataLoader
    >>> sampler = SelectiveSampler.simple(num_images=1000, beta=8.0)
    >>> loader = DataLoader(range(1000), batch_size=8, sampler=sampler)
    >>> for epoch in range(20):
    ...     due = sampler.images_to_score(epoch)
    ...     losses = 1.0 / (1.0 + due)  # here: one loss per image, from a forward pass in eval mode
    ...     sampler.record_scores(due, losses.reshape(1, -1, 1), epoch)
    ...     sampler.set_epoch(epoch)
    ...     for batch in loader:
    ...         sampler.record_training(batch.numpy(), epoch)  # here: and train on the batch
    """

    def __init__(
        self,
        book: ScoreBook,
        policy: Policy,
        staleness: Staleness,
        seed: int,
        candidates: np.ndarray | None = None,
        warmup_epochs: int = 1,
        *,
        beta: float = 8.0,
        focus: Sequence[int] = (0,),
        labels: np.ndarray | None = None,
        guard: Guard | None = None,
    ):
        require(warmup_epochs >= 0, "warmup_epochs", warmup_epochs, "at least 0")
        require(beta >= 0, "beta", beta, "at least 0")
        if not len(focus):
            raise ValueError("focus: must name at least one defect to select by")
        self.book, self.policy, self.staleness = book, policy, staleness
        self.seed, self.warmup_epochs = seed, warmup_epochs
        self.candidates = np.arange(len(book)) if candidates is None else np.asarray(candidates)
        self.beta, self.focus = float(beta), tuple(int(d) for d in focus)
        self.labels = None if labels is None else np.asarray(labels, dtype=bool)
        self.guard = guard or NoGuard()
        if self.guard.needs_scores and self.labels is None:
            raise ValueError("labels: a guard needs the labels (N, D) of the images")
        self.holdout: np.ndarray | None = None  # (N, D), see SelectionContext
        self._strata: np.ndarray | None = None
        self.epoch = 0
        self._drawn: EpochPlan | None = None

    @classmethod
    def simple(
        cls, num_images: int, beta: float = 8.0, every: int = 1, only_seen: bool = False, seed: int = 0
    ) -> "SelectiveSampler":
        """A sampler for one score per image: Selective with `beta`, Periodic scoring."""
        return cls(
            ScoreBook(num_images, num_defects=1), Selective(), Periodic(every, only_seen), seed, beta=beta
        )

    @property
    def writes_back(self) -> bool:
        """Whether the training step's own losses belong into the score book."""
        return self.policy.needs_scores and self.staleness.writes_back

    def images_to_score(self, epoch: int) -> np.ndarray:
        """Indices of the images that need a score before `epoch`, ascending; empty during warm-up."""
        if not self.policy.needs_scores or epoch < self.warmup_epochs:
            return np.empty(0, dtype=np.int64)
        return self.staleness.images_to_score(epoch, self.warmup_epochs, self.book)

    def record_scores(
        self, indices: np.ndarray, scores: np.ndarray, epoch: int, *, late: bool = False
    ) -> None:
        """Take scores (S, n, D) of `indices` (n,) into the book; see ScoreBook.record_scores."""
        if len(indices):
            self.book.record_scores(indices, scores, epoch, late=late)

    def plan(self, epoch: int, progress: float = 0.0) -> EpochPlan:
        """Draw the images of `epoch` and shuffle them. Does not change the book. progress: share of the run's
        budget that is used, for policies that change over a run."""
        rng = generator(self.seed, Purpose.DRAW, epoch)
        policy = Everything() if self.policy.warms_up and epoch < self.warmup_epochs else self.policy
        context = SelectionContext(
            self.candidates,
            self.book,
            self.beta,
            self.focus,
            self.labels,
            epoch,
            progress,
            suspects=self.suspects(),
            holdout=self.holdout,
        )
        kept = policy.select(context, rng)
        indices = self.candidates[rng.permutation(kept)]
        weights, rate = policy.weights(context), policy.rate(context, kept)
        return EpochPlan(indices, len(self.candidates), weights, rate)

    def suspects(self) -> np.ndarray | None:
        """(N,) bool, images that the guard suspects by now; None if it suspects none."""
        if not self.guard.needs_scores:
            return None
        scores = self.book.image_scores(self.focus)
        return self.guard.suspects(scores, self._label_strata(), self.book.times_selected)

    def observe(self, drawn: np.ndarray) -> None:
        """Show the guard the scores that the draw of an epoch saw, once an epoch. drawn: (n,) the images."""
        if self.guard.needs_scores:
            selected = self.book.times_selected > 0
            selected[drawn] = True
            self.guard.observe(self.book.image_scores(self.focus), self._label_strata(), selected)

    def _label_strata(self) -> np.ndarray:
        if self._strata is None:
            assert self.labels is not None
            self._strata = strata_of(self.labels, "defect")
        return self._strata

    def record_training(self, indices: np.ndarray, epoch: int) -> None:
        """Note that `indices` were trained on in `epoch`."""
        self.book.record_training(indices, epoch)

    def set_epoch(self, epoch: int) -> None:
        """Begin `epoch`, as with torch's DistributedSampler; its images are drawn when they are first asked
        for, from the scores of that moment, and stay the same until the next call."""
        self.epoch, self._drawn = epoch, None

    def __iter__(self) -> Iterator[int]:
        return iter(self._current().indices.tolist())

    def __len__(self) -> int:
        """Number of images that the epoch trains on."""
        return len(self._current().indices)

    @property
    def weights(self) -> np.ndarray | None:
        """(N,) float32, by image number, what each image's loss counts in the epoch; None: all of them 1."""
        return self._current().weights

    @property
    def rate(self) -> float:
        """What the learning rate is multiplied by in the epoch."""
        return self._current().rate

    def _current(self) -> EpochPlan:
        if self._drawn is None:
            self._drawn = self.plan(self.epoch)
        return self._drawn
