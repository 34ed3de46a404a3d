"""What makes two runs the same run: everything in the config and the code that can change a result."""

import hashlib
import json
from functools import cache
from pathlib import Path

from sbp.build.data import content
from sbp.config import Config, DiskData, flattened

PACKAGE = Path(__file__).resolve().parent.parent
# Figures, reports and the command line can change without making a recorded run another one.
CODE = (
    "selection",
    "engine",
    "data",
    "metrics",
    "config",
    "build",
    "run",
)
NOT_RESULTS = {
    "section",
    "label",
    "exclusive",
    "if_exists",
    "run_name",
    "run_dir",
    "output_root",
    "trainer.threads",
    "trainer.workers",
    "trainer.save_every_s",
    "trainer.save_share",
    "data.cache",
    "data.split_file",
}


def fingerprint(config: Config) -> str:
    """16 hex digits, equal for configs that train the same run with the present code.

    Names, folders, tracking, tags and the numbers of threads and loader workers do not count. Images on disk
    count by their content, not by their place; so does the file that splits them.
    """
    values = {
        key: value
        for key, value in flattened(config).items()
        if key not in NOT_RESULTS and not key.startswith(("tags", "tracking."))
    }
    if isinstance(config.data, DiskData) and config.data.root:
        values["data.root"] = content(config.data, config.output_root)
    text = json.dumps([code_version(), values], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@cache
def code_version() -> str:
    """12 hex digits of the source files that a run's result depends on."""
    digest = hashlib.sha256()
    for name in CODE:
        path = PACKAGE / name
        for file in [path] if path.is_file() else sorted(path.rglob("*.py")):
            digest.update(str(file.relative_to(PACKAGE)).encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()[:12]
