"""What a run that builds on earlier runs has of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sbp.data.dataset import DataSet
from sbp.engine.budget import Budget
from sbp.engine.callbacks import Callback
from sbp.tracking.tracker import Tracker


def _everything(data: DataSet) -> DataSet:
    return data


def _nothing(tracker: Tracker) -> Sequence[Callback]:
    return ()


@dataclass(frozen=True)
class Prepared:
    """training_set: the part of the data set that is trained on. init_from: a checkpoint to begin with, None:
    that of the config; budget: likewise. callbacks: what measures, once the test split is measured."""

    training_set: Callable[[DataSet], DataSet] = _everything
    init_from: Path | None = None
    budget: Budget | None = None
    callbacks: Callable[[Tracker], Sequence[Callback]] = _nothing
