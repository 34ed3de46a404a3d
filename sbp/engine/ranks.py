"""Several processes, called ranks, that train one model: who does what, and what they tell each other.

Every rank has the same weights, score book and random streams. A batch, a scoring pass and an evaluation are
shared out; sums over a batch are then sums over all ranks' parts, so that gradients are those of one process
whatever each rank keeps: a mean per rank, averaged, would not be where the parts differ in size.
"""

import contextlib
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

_batch_is_shared = False


@dataclass(frozen=True)
class Ranks:
    """This process, number `rank`, among the `count` that train one model; ALONE is one by itself. local:
    its number among those on this machine.

    What takes part in an exchange must be called by all ranks, in the same order.
    """

    rank: int = 0
    count: int = 1
    local: int = 0

    def device(self, name: str) -> str:
        """The device that the config calls `name`: with `cuda`, each process on a machine has its own."""
        return f"cuda:{self.local}" if name == "cuda" and self.count > 1 else name

    @property
    def leads(self) -> bool:
        """Whether this is the rank that records, saves and decides."""
        return self.rank == 0

    @property
    def share(self) -> slice:
        """This rank's part of anything in order: every count-th item; none where there are fewer items."""
        return slice(self.rank, None, self.count)

    def gather(self, rows: np.ndarray) -> list[np.ndarray]:
        """Each rank's array, by rank; they may differ in their number of rows."""
        rows = np.ascontiguousarray(rows)
        parts = self._gather_bytes(rows.reshape(-1).view(np.uint8))
        return [part.view(rows.dtype).reshape(-1, *rows.shape[1:]) for part in parts]

    def concatenated(self, rows: np.ndarray) -> np.ndarray:
        """The rows of all ranks, rank by rank."""
        return rows if self.count == 1 else np.concatenate(self.gather(rows))

    def together(self, rows: np.ndarray) -> np.ndarray:
        """The rows of all items in order, from those of each rank's `share`."""
        if self.count == 1:
            return rows
        parts = self.gather(rows)
        whole = np.empty((sum(map(len, parts)), *rows.shape[1:]), dtype=rows.dtype)
        for rank, part in enumerate(parts):
            whole[rank :: self.count] = part
        return whole

    def added_up(self, values: np.ndarray) -> np.ndarray:
        """The sum over all ranks, the same on each to the last bit."""
        return values if self.count == 1 else np.sum(self.gather(values[None]), axis=0)[0]

    def told(self, value: float) -> float:
        """What the leading rank has here."""
        return value if self.count == 1 else float(self.gather(np.array([value]))[0][0])

    def told_bytes(self, message: bytes) -> bytes:
        """What the leading rank has here."""
        mine = np.frombuffer(message if self.leads else b"", dtype=np.uint8)
        return self._gather_bytes(mine)[0].tobytes()

    def _gather_bytes(self, mine: np.ndarray) -> list[np.ndarray]:
        lengths = [torch.zeros(1, dtype=torch.int64) for _ in range(self.count)]
        distributed.all_gather(lengths, torch.tensor([len(mine)]))
        sizes = [int(length) for length in lengths]
        padded = torch.zeros(max(sizes), dtype=torch.uint8)
        padded[: len(mine)] = torch.from_numpy(mine.copy())
        parts = [torch.empty_like(padded) for _ in sizes]
        if len(padded):
            distributed.all_gather(parts, padded)
        return [part[:size].numpy() for part, size in zip(parts, sizes, strict=True)]

    @contextlib.contextmanager
    def one_batch(self) -> Iterator[None]:
        """Inside, what this process has is its part of a batch: `batch_sum` adds up over all ranks."""
        global _batch_is_shared
        _batch_is_shared = self.count > 1
        try:
            yield
        finally:
            _batch_is_shared = False


ALONE = Ranks()


def batch_is_shared() -> bool:
    """Whether the batch in work lies with several ranks."""
    return _batch_is_shared


def batch_sum(part: Tensor) -> Tensor:
    """The sum of `part` over the ranks that share the batch in work, with its gradient; `part` itself where
    one process has all of it. A loss that is computed from such sums is the same on every rank."""
    return SumOverRanks.apply(part) if _batch_is_shared else part


class SumOverRanks(torch.autograd.Function):
    """The sum of a tensor over all ranks. Its gradient is that of all ranks' losses together: where each
    rank's loss is the loss of the whole batch, that is `count` times the gradient, which averaging the ranks'
    gradients, as DistributedDataParallel does, divides by `count` again."""

    @staticmethod
    def forward(ctx: Any, part: Tensor) -> Tensor:
        return sum_over_ranks(part)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return sum_over_ranks(gradient)


def sum_over_ranks(value: Tensor) -> Tensor:
    """The sum over all ranks, wherever it is wanted; without a gradient."""
    result = value.clone(memory_format=torch.contiguous_format)
    distributed.all_reduce(result)
    return result


def over_ranks(model: nn.Module) -> nn.Module:
    """The model for the forward passes of training: its gradients are averaged over all ranks."""
    device = next(model.parameters()).device
    # parameters that no step uses, as those of an encoder's stages below encoder_depth, are none to wait for
    settings: dict[str, Any] = {
        "device_ids": [device] if device.type == "cuda" else None,
        "static_graph": True,
    }
    # buffers are BatchNorm's, which are equal already; the argument's old name until torch 2.14
    known = inspect.signature(DistributedDataParallel).parameters
    settings["forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"] = False
    return DistributedDataParallel(model, **settings)
