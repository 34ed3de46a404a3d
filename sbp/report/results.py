"""Results as rows of text: one per run, with what it was, where it ran and what came out."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from sbp.metrics import names
from sbp.report.measures import SHORT, never_reached
from sbp.report.run_curves import EVERY_EPOCH, run_label
from sbp.tracking.imported import ROW
from sbp.tracking.runs import RecordedRun

PARAMS = (
    "scale", "data", "selection", "defects", "aggregation", "beta", "staleness", "upsampling", "model",
    "budget.compute", "data.image_size", "data.train_images", "data.defects", "data.common", "data.rare",
    "trainer.batch_size", "optimizer.lr",
)  # fmt: skip
RESOLVED = ("resolved.beta", "resolved.N", "resolved.K")
"""What `auto` or a value beside a group's options came to; only where a run has them."""
TAGS = (
    "exclusive", "fingerprint", "code.version", "results.version", "git.commit", "git.dirty", "hardware.cpu",
    "hardware.cores", "hardware.gpu", "hardware.torch_threads", "version.torch",
)  # fmt: skip
QUALITY = ("map", "pixel_ap", "loss", "clean_map", "accuracy", "error")
ALARMS = (
    *(
        names.at_recall(name, recall)
        for name in (names.FALSE_REGIONS, names.LOOKALIKE_FALSE_REGIONS)
        for recall in names.RECALLS
    ),
    names.MAX_RECALL,
    *map(names.recall_of, names.SIZES),
    names.HEALTHY_IMAGES,
    names.LOOKALIKE_IMAGES,
)
"""Of the test split alone, and of runs that have them; blank where a run does not reach a recall."""
STAGES = (names.LABELLED_MAP, names.LABELLED_AREA, names.LABELLED_DEFECTS, names.FOUND, names.FORGETTING)
"""Of runs that build on earlier ones."""
DIGITS = 6
"""Significant ones of every recorded number."""


def result_row(run: RecordedRun) -> dict[str, str]:
    """One run as text: arm, seed, status, config, commit and hardware, cost, metrics at its end. The same for
    a run that was imported from such a row."""
    row = {"arm": run.params.get("arm", ""), "budget": run.params.get("budget", SHORT)}
    row |= {"label": run_label(run), "seed": run.params["seed"]}
    row |= {"status": run.status, "run_id": run.run_id, "started": time_text(run.started)}
    row |= {key: run.params.get(key, "") for key in PARAMS}
    row |= {key: run.params[key] for key in RESOLVED if key in run.params}
    tags = {"exclusive": run.tags.get("alone", ""), **run.tags}  # its name in runs of earlier versions
    row |= {key: tags.get(key, "") for key in TAGS}
    row["epochs"] = str(epochs(run))
    row["epoch_s"] = _number(epoch_s(run))
    for key in ("cost/baseline_epochs", "cost/flops", "time/work_s"):
        row[key] = _number(run.last(key))
    row["kept_fraction"] = _number(kept_fraction(run))
    wanted = [names.of_split(split, name) for split in ("val", "test") for name in QUALITY]
    wanted += [*(names.of_split("test", name) for name in ALARMS), *STAGES]
    for metric in wanted:
        for key in (metric, *(f"{metric}/{d}" for d in run.defects)):
            if key in run.metrics and not never_reached(run, key):
                row[key] = _number(run.last(key))
    told = recorded_row(run)
    return row | {key: told[key] for key in row if key in told}


def recorded_row(run: RecordedRun) -> dict[str, str]:
    """The row that an imported run was made from; empty for one that was trained on this store."""
    return json.loads(run.tags.get(ROW, "{}"))


def time_text(milliseconds: int) -> str:
    """A moment since 1970 as date and time, UTC."""
    moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def time_of(text: str) -> int:
    """Milliseconds since 1970 of a `time_text`. Raises ValueError for another text."""
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def epochs(run: RecordedRun) -> int:
    """How many epochs the run had, also those of which its curves keep nothing."""
    return int(recorded_row(run).get("epochs") or len(run.values(EVERY_EPOCH)))


def epoch_s(run: RecordedRun) -> float:
    """Mean seconds of scoring, training and waiting for data per epoch, the first epoch left out: it warms
    up and trains on every image."""
    if told := recorded_row(run).get("epoch_s"):
        return float(told)
    work = run.values("time/work_s")
    return _rounded((work[-1] - work[0]) / (len(work) - 1)) if len(work) > 1 else float("nan")


def kept_fraction(run: RecordedRun) -> float:
    """Mean share of the images trained on, NaN if it was never logged."""
    if told := recorded_row(run).get("kept_fraction"):
        return float(told)
    values = run.values("train/kept_fraction")
    return _rounded(values.mean()) if len(values) else float("nan")


def write_rows(rows: Sequence[dict[str, str]], path: str | Path) -> None:
    """Write rows as CSV; columns are those of any row, in the order of first appearance."""
    from pandas import DataFrame  # late: it takes half a second

    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    DataFrame(list(rows)).to_csv(path, index=False, lineterminator="\n")


def read_rows(path: str | Path) -> list[dict[str, str]]:
    """What `write_rows` wrote; empty without a file."""
    from pandas import read_csv

    return read_csv(path, dtype=str, keep_default_na=False).to_dict("records") if Path(path).is_file() else []


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")  # as it is recorded


def _number(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.{DIGITS}g}"
