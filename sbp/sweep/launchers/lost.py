"""A job of a sweep that ended without a result: killed, out of memory, out of time, its node gone."""

import logging
import math
from collections.abc import Sequence
from pathlib import Path

from hydra.core.utils import JobReturn, JobStatus
from hydra.types import HydraContext
from omegaconf import DictConfig, open_dict

from sbp.sweep.callback import FAILURE

log = logging.getLogger("sbp")


def lost_job(
    context: HydraContext, config: DictConfig, overrides: Sequence[str], number: int, reason: str
) -> JobReturn:
    """What a launcher returns for such a job, as the sweep goes on: a result that is NaN. The job's folder
    gets the line that the sweep names at its end.

    config: the sweep's, as the launcher has it; overrides, number: the job's.
    """
    job = context.config_loader.load_sweep_config(config, list(overrides))
    with open_dict(job):
        job.hydra.job.num = number
    folder = Path(str(config.hydra.sweep.dir), str(job.hydra.sweep.subdir))
    folder.mkdir(parents=True, exist_ok=True)
    line = f"{job.hydra.job.override_dirname}: {' '.join(reason.split())}"
    (folder / FAILURE).write_text(f"{line}\n")
    log.error("%s", line)
    return JobReturn(list(overrides), status=JobStatus.COMPLETED, _return_value=math.nan)
