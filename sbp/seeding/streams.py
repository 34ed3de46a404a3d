"""A stream of random numbers for each purpose; the table is in the package's docstring."""

import enum

import numpy as np


class Purpose(enum.Enum):
    """What random numbers are for: the names of the keys of a draw, and the words that follow them."""

    DRAW = (("epoch",), ())
    SCORING = (("epoch",), (1,))
    PROBE = (("epoch", "repeat"), (2,))
    TILE_PLACE = (("epoch", "image", "copy"), (3,))
    TILE_ORDER = (("epoch",), (4,))
    IN_BATCH = (("epoch", "step"), (5,))
    LABELLING = (("round",), (6,))
    ARRIVAL = (("part",), (7,))
    AUGMENTATION = (("epoch", "image", "copy"), ())
    DATA_PLAN = (("split",), ())
    DATA_IMAGE = (("split", "image"), (1,))

    @property
    def keys(self) -> tuple[str, ...]:
        """Names of the numbers that say which draw it is."""
        return self.value[0]


def stream(seed: int, purpose: Purpose, *keys: int) -> np.random.SeedSequence:
    """The seed sequence of one draw. keys: the purpose's, each at least 0. Raises TypeError if there are more
    or fewer, and ValueError if one is negative."""
    if len(keys) != len(purpose.keys):
        raise TypeError(f"{purpose.name}: takes the keys {', '.join(purpose.keys)}, got {len(keys)} of them")
    return np.random.SeedSequence([seed, *keys, *purpose.value[1]])


def generator(seed: int, purpose: Purpose, *keys: int) -> np.random.Generator:
    """A generator at the beginning of that stream; see `stream`."""
    return np.random.default_rng(stream(seed, purpose, *keys))
