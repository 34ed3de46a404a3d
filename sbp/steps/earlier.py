"""An earlier run that a run needs: trained once, and found again by all that need it."""

import json
import logging
import shutil
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

from sbp.config import Config
from sbp.run.execute import run
from sbp.run.fingerprint import fingerprint
from sbp.run.prepared import Prepared
from sbp.run.state import interrupted_runs
from sbp.utils.files import file_lock, write_atomically
from sbp.utils.progress import Progress, RunProgress

DONE = "done.json"
"""In the folder of a run, once it is trained: what was."""
MODEL = "last.pt"

log = logging.getLogger("sbp")


def trained(
    config: Config,
    what: str,
    choices: dict[str, str] | None = None,
    progress: Progress | None = None,
    prepare: Callable[[], Prepared] = Prepared,
) -> Path:
    """The folder config.run_dir with the finished run of this config, which is trained unless it is there.

    An interrupted one goes on; others who want it wait. what: it is called, in what is logged. prepare: see
    `sbp.run.execute.run`.
    """
    folder, identity = Path(config.run_dir), fingerprint(config)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with file_lock(
        folder.with_name(f".{folder.name}.lock"), waiting=f"waiting for {what}, elsewhere under way"
    ):
        if _trained_as(folder) == identity:
            return folder
        log.info("training %s", what)
        goes_on = any(interrupted_runs(config.output_root, identity))
        if not goes_on:
            shutil.rmtree(folder, ignore_errors=True)  # of another config, or stopped before it could resume
        folder.mkdir(parents=True, exist_ok=True)
        config = deepcopy(config)
        # one that MLflow knows as finished, but is not here, is of no use: its folder is needed
        config.if_exists, config.tracking.parent = "resume" if goes_on else "retrain", None
        # who needed it first is no matter
        groups = {key: option for key, option in (choices or {}).items() if key not in ("arm", "experiment")}
        run(config, groups, {}, progress or RunProgress(), prepare)
        write_atomically(folder / DONE, json.dumps({"fingerprint": identity}))
    return folder


def _trained_as(folder: Path) -> str | None:
    try:
        return str(json.loads((folder / DONE).read_text())["fingerprint"])
    except (OSError, ValueError, KeyError):
        return None
