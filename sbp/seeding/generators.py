"""The global random generators, for other people's code: seeded once, and carried over a restart."""

import random
from typing import Any

import numpy as np


def seed_everything(seed: int) -> None:
    """Seed what initialises weights; every later choice draws from a stream of its own."""
    import torch

    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - for third-party code only
    torch.manual_seed(seed)


def generator_states() -> dict[str, Any]:
    """The states of all global generators, as tensors and plain values; undone by `restore_generators`."""
    import torch

    legacy: Any = np.random.get_state()  # noqa: NPY002 - third-party code may draw from it
    kind, keys, position, has_gauss, gauss = legacy
    return {
        "python": random.getstate(),
        "numpy": [kind, keys.tolist(), int(position), int(has_gauss), float(gauss)],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def restore_generators(states: dict[str, Any]) -> None:
    """Set all global generators to what they were at `generator_states`."""
    import torch

    random.setstate(states["python"])
    kind, keys, *rest = states["numpy"]
    np.random.set_state((kind, np.array(keys, dtype=np.uint32), *rest))  # noqa: NPY002
    torch.set_rng_state(states["torch"])
    if states["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(states["cuda"])
