"""The epoch's work list: what to score, what to train on. The piece to use in a training loop of your own."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sbp.selection.policies import Everything, Policy, Selective
from sbp.selection.score_book import ScoreBook
from sbp.selection.staleness import Periodic, Staleness


@dataclass(frozen=True)
class EpochPlan:
    """The images one epoch trains on, in random order; an upsampled image may appear several times."""

    indices: np.ndarray
    num_candidates: int

    @property
    def kept_fraction(self) -> float:
        """Share of the candidates that was kept, in (0, 1]."""
        return len(self.indices) / self.num_candidates


class SelectiveSampler:
    """Selective back-propagation over a score book.

    Each epoch: `images_to_score` names the images whose scores are due, `record_scores` takes them,
    `plan` draws the epoch, and `record_training` notes it. All randomness comes from
    `SeedSequence([seed, epoch])`, so an epoch's draw depends on nothing but the seed, the epoch and
    the scores.

    book: one row per image. policy: what is kept. staleness: what is rescored. candidates: image indices
    with repetitions (upsampling); default every image once. warmup_epochs: epochs at the start that train
    on every candidate, for policies that warm up; with 0 the first epoch already selects.

    >>> sampler = SelectiveSampler.simple(num_images=1000, beta=8.0)
    >>> for epoch in range(20):
    ...     due = sampler.images_to_score(epoch)
    ...     losses = 1.0 / (1.0 + due)  # here: one loss per image, from a forward pass in eval mode
    ...     sampler.record_scores(due, losses.reshape(1, -1, 1), epoch)
    ...     plan = sampler.plan(epoch)
    ...     # here: train on plan.indices
    ...     sampler.record_training(plan.indices, epoch)
    """

    def __init__(
        self,
        book: ScoreBook,
        policy: Policy,
        staleness: Staleness,
        seed: int,
        candidates: np.ndarray | None = None,
        warmup_epochs: int = 1,
    ):
        if warmup_epochs < 0:
            raise ValueError(f"warmup_epochs={warmup_epochs}, must be at least 0")
        self.book, self.policy, self.staleness = book, policy, staleness
        self.seed, self.warmup_epochs = seed, warmup_epochs
        self.candidates = np.arange(len(book)) if candidates is None else np.asarray(candidates)

    @classmethod
    def simple(
        cls, num_images: int, beta: float = 8.0, every: int = 1, only_seen: bool = False, seed: int = 0
    ):
        """A sampler for one score per image: Selective with `beta`, Periodic scoring."""
        book = ScoreBook(num_images, num_defects=1)
        return cls(book, Selective(beta, [0]), Periodic(every, only_seen), seed)

    @property
    def writes_back(self) -> bool:
        """Whether the training step's own losses belong into the score book."""
        return self.policy.needs_scores and self.staleness.writes_back

    def images_to_score(self, epoch: int) -> np.ndarray:
        """Indices of the images that need a score before `epoch`, ascending; empty during warm-up."""
        if not self.policy.needs_scores or epoch < self.warmup_epochs:
            return np.empty(0, dtype=np.int64)
        return self.staleness.images_to_score(epoch, self.warmup_epochs, self.book)

    def record_scores(self, indices: np.ndarray, scores: np.ndarray, epoch: int) -> None:
        """Take scores (S, n, D) of `indices` (n,) into the book; see ScoreBook.record_scores."""
        if len(indices):
            self.book.record_scores(indices, scores, epoch)

    def plan(self, epoch: int) -> EpochPlan:
        """Draw the images of `epoch` and shuffle them. Does not change the book."""
        rng = np.random.default_rng(np.random.SeedSequence([self.seed, epoch]))
        policy = Everything() if self.policy.warms_up and epoch < self.warmup_epochs else self.policy
        kept = policy.select(self.candidates, self.book, rng)
        indices = self.candidates[rng.permutation(kept)]
        return EpochPlan(indices, len(self.candidates))

    def record_training(self, indices: np.ndarray, epoch: int) -> None:
        """Note that `indices` were trained on in `epoch`."""
        self.book.record_training(indices, epoch)


def defect_indices(names: Sequence[str], focus: Sequence[str]) -> list[int]:
    """Channel numbers of the focused defects; raises ValueError naming an unknown one."""
    unknown = [name for name in focus if name not in names]
    if unknown:
        raise ValueError(f"{', '.join(unknown)}: the data set has {', '.join(names)}")
    return [list(names).index(name) for name in focus]
