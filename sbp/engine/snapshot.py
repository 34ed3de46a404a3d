"""Everything that a trainer knows at a moment, and a trainer that resumes from there."""

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from sbp.engine.callbacks import EpochRecord
from sbp.engine.epoch import EpochInProgress

if TYPE_CHECKING:
    from sbp.engine.trainer import Trainer


def snapshot(trainer: "Trainer") -> dict[str, Any]:
    """Tensors and plain values from which `restore` resumes, bit for bit on a CPU; right between any two
    steps of an epoch, and wherever a signal can interrupt."""
    book, ledger, current = trainer.sampler.book.state_dict(), trainer.ledger, trainer.current
    return {
        "model": trainer.model.state_dict(),
        "optimizer": trainer.optimizer.state_dict(),
        "book": {k: torch.from_numpy(v) if isinstance(v, np.ndarray) else v for k, v in book.items()},
        "ledger": {"trained": ledger.trained, "scored": ledger.scored},
        "work_s": trainer.work_s,
        "epoch": trainer.epoch,
        "current": None if current is None else current.state_dict(),
        "last": {"epoch": trainer.last.epoch, "metrics": trainer.last.metrics},
        "callbacks": {type(callback).__name__: callback.state_dict() for callback in trainer.callbacks},
    }


def restore(trainer: "Trainer", state: dict[str, Any]) -> None:
    """Make the trainer what `snapshot` saw. Raises ValueError or RuntimeError if its model was another."""
    trainer.model.load_state_dict(state["model"])
    trainer.optimizer.load_state_dict(state["optimizer"])
    trainer.sampler.book.load_state_dict(state["book"])  # numpy takes the tensors as they are
    trainer.ledger.trained, trainer.ledger.scored = state["ledger"]["trained"], state["ledger"]["scored"]
    trainer.work_s, trainer.epoch = state["work_s"], state["epoch"]
    trainer.current = None if state["current"] is None else EpochInProgress.from_state(state["current"])
    trainer.last = EpochRecord(**state["last"], scores=None)
    for callback in trainer.callbacks:
        callback.load_state_dict(state["callbacks"][type(callback).__name__])
