"""A run, after the earlier runs that it builds on."""

from collections.abc import Callable
from functools import partial

from sbp.config import Config
from sbp.errors import UserError
from sbp.run import execute
from sbp.run.prepared import Prepared
from sbp.steps import arrival, labelling
from sbp.steps.part_progress import LastPartProgress
from sbp.utils import torchrun
from sbp.utils.progress import Progress


def run(
    config: Config, choices: dict[str, str], tags: dict[str, str], progress: Progress
) -> dict[str, float]:
    """One run, as `sbp.run.execute.run`. With config.labelling or config.arrival, the runs that it builds on
    come first, unless they are there."""
    if config.labelling.by is not None:
        count, prepare = config.labelling.round + 1, labelling.prepared
    elif config.arrival.defect is not None:
        count, prepare = arrival.steps(config), arrival.prepared
    else:
        return execute.run(config, choices, tags, progress)
    if torchrun.count() > 1:
        raise UserError("labelling and arrival: not under torchrun; train with one process")
    made: Callable[[], Prepared] = partial(prepare, config, choices, progress)
    last = LastPartProgress(progress, count) if count > 1 else progress
    return execute.run(config, choices, tags, last, made)
