"""What torchrun tells each of the processes that it starts, through the environment."""

import os


def count() -> int:
    """How many processes it has started together, 1 where it has not."""
    return int(os.environ.get("WORLD_SIZE", 1)) if "RANK" in os.environ else 1


def rank() -> int:
    """The number of this process among them; 0, where it has not, too."""
    return int(os.environ["RANK"]) if count() > 1 else 0


def local_rank() -> int:
    """The same among those on this machine."""
    return int(os.environ.get("LOCAL_RANK", 0))


def local_count(total: int) -> int:
    """How many of all `total` processes are on this machine: all, where it does not say."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", total))
