"""What of a trainer a restart needs."""

from typing import Any

import numpy as np
import torch

from sbp.engine.callbacks import EpochRecord
from sbp.engine.epoch import EpochInProgress
from sbp.engine.trainer import Trainer

LEDGER = ("trained", "scored", "forwarded")
"""What a state has of the ledger."""


def snapshot(trainer: Trainer) -> dict[str, Any]:
    """Tensors and plain values from which `restore` resumes, bit for bit on a CPU; right between any two
    steps of an epoch, and wherever a signal can interrupt."""
    book, guard = trainer.sampler.book.state_dict(), trainer.sampler.guard.state_dict()
    ledger, current = trainer.ledger, trainer.current
    return {
        "model": trainer.model.state_dict(),
        "optimizer": trainer.optimizer.state_dict(),
        "book": {k: torch.from_numpy(v) if isinstance(v, np.ndarray) else v for k, v in book.items()},
        "ledger": {name: getattr(ledger, name) for name in LEDGER},
        "work_s": trainer.work_s,
        "epoch": trainer.epoch,
        "current": None if current is None else current.state_dict(),
        "guard": {k: torch.from_numpy(v) for k, v in guard.items()},
        "in_batch": trainer.in_batch.state_dict(),
        "average": None if trainer.average is None else trainer.average.state_dict(),
        "parallel": None if trainer.parallel is None else trainer.parallel.state_dict(),
        "last": {"epoch": trainer.last.epoch, "metrics": trainer.last.metrics},
        "callbacks": {type(callback).__name__: callback.state_dict() for callback in trainer.callbacks},
    }


def restore(trainer: Trainer, state: dict[str, Any]) -> None:
    """Make the trainer what `snapshot` saw. Raises ValueError or RuntimeError if its model was another."""
    trainer.model.load_state_dict(state["model"])
    trainer.optimizer.load_state_dict(state["optimizer"])
    trainer.sampler.book.load_state_dict(state["book"])  # numpy takes the tensors as they are
    trainer.sampler.guard.load_state_dict(state["guard"])
    trainer.in_batch.load_state_dict(state["in_batch"])
    if trainer.average is not None:
        trainer.average.load_state_dict(state["average"])
    for name in LEDGER:
        setattr(trainer.ledger, name, state["ledger"][name])
    trainer.work_s, trainer.epoch = state["work_s"], state["epoch"]
    trainer.current = None if state["current"] is None else EpochInProgress.from_state(state["current"])
    if trainer.parallel is not None:
        trainer.parallel.load_state_dict(state["parallel"])
    trainer.last = EpochRecord(**state["last"], scores=None)
    for callback in trainer.callbacks:
        callback.load_state_dict(state["callbacks"][type(callback).__name__])
