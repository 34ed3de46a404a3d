"""What makes two runs the same: all of the config that can change a result, and what the code computes."""

import hashlib
import json
from pathlib import Path

from sbp.build.data import content
from sbp.config import Config, flattened
from sbp.config.schemas import OPEN_GROUPS, registered
from sbp.plugins.discovery import foreign_source
from sbp.run.results_version import RESULTS_VERSION

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
    "trainer.processes",
    "trainer.save_every_s",
    "trainer.save_share",
    "scoring.threads",
    "data.cache",
    "data.split_file",
    # their effect is in the content of the images on disk
    "data.exif",
    "data.known",
    "data.official_splits",
}

UNUSED = ("tags", "tracking.", "scale.")
"""Beginnings of keys that training does not read: what a scale says stands again where it is used."""

LATER = {
    "selection.unit": "image",
    "guard.name": "none",
    "scoring.weights": "current",
    "selection.stands_out": 0.0,
    "init_from": None,
    "folds.count": 0,
    "folds.without": 0,
    "loss.of_present": False,
}
"""Keys that are younger than recorded runs, with the value that leaves a run what it was without them."""

STAGES = {"labelling.": "labelling.by", "arrival.": "arrival.defect"}
"""Beginnings of keys that matter only where the other key is not None."""

PARALLEL = {"scoring.parallel", "scoring.device", "scoring.hand_over", "scoring.max_age"}
"""Keys that matter only where scoring is parallel."""


def fingerprint(config: Config) -> str:
    """16 hex digits, equal for configs that train the same run with code of the same results version.

    Names, folders, tracking, tags and the numbers of threads and loader workers do not count. Images on disk
    count by their content, not by their place; so does the file that splits them. Classes of plugins count by
    the source of their package.
    """
    ignored = NOT_RESULTS | (PARALLEL if config.scoring.parallel == "none" else set())
    if config.scoring.weights == "current":
        ignored.add("scoring.ema_decay")
    flat = flattened(config)
    unused = UNUSED + tuple(beginning for beginning, key in STAGES.items() if flat[key] is None)
    values = {
        key: value
        for key, value in flat.items()
        if key not in ignored and not key.startswith(unused) and not (key in LATER and LATER[key] == value)
    }
    if config.init_from is not None:
        values["init_from"] = file_digest(Path(config.init_from))
    if getattr(config.data, "root", None):
        values["data.root"] = content(config.data, config.output_root)
    text = json.dumps([RESULTS_VERSION, foreign_sources(config), values], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def file_digest(path: Path) -> str:
    """Of a file's content; empty for one that is not there, which using it will say."""
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def foreign_sources(config: Config) -> dict[str, str]:
    """A digest of the source of each plugin class that the config uses, by group."""
    used = {group: registered(group, getattr(config, group).name) for group in OPEN_GROUPS}
    digests = {group: foreign_source(cls) for group, cls in used.items()}
    return {group: digest for group, digest in digests.items() if digest is not None}
