"""Results as rows of text: one per run, with what it was, where it ran and what came out."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sbp.report.run_curves import EVERY_EPOCH, run_label
from sbp.tracking.runs import RecordedRun

PARAMS = (
    "scale", "data", "selection", "defects", "aggregation", "beta", "staleness", "upsampling", "model",
    "budget.compute", "data.image_size", "data.train_images", "trainer.batch_size", "optimizer.lr",
)  # fmt: skip
RESOLVED = ("resolved.beta", "resolved.N", "resolved.K")
"""What `auto` or a value beside a group's options came to; only where a run has them."""
TAGS = (
    "exclusive", "fingerprint", "code.version", "results.version", "git.commit", "git.dirty", "hardware.cpu",
    "hardware.cores", "hardware.gpu", "hardware.torch_threads", "version.torch",
)  # fmt: skip


def result_row(run: RecordedRun) -> dict[str, str]:
    """One run as text: arm, seed, status, config, commit and hardware, cost, metrics at its end."""
    row = {"arm": run.params.get("arm", ""), "label": run_label(run), "seed": run.params["seed"]}
    row |= {"status": run.status, "run_id": run.run_id}
    row |= {key: run.params.get(key, "") for key in PARAMS}
    row |= {key: run.params[key] for key in RESOLVED if key in run.params}
    tags = {"exclusive": run.tags.get("alone", ""), **run.tags}  # its name in runs of earlier versions
    row |= {key: tags.get(key, "") for key in TAGS}
    row["epochs"] = str(len(run.values(EVERY_EPOCH)))
    row["epoch_s"] = _number(epoch_s(run))
    for key in ("cost/baseline_epochs", "cost/flops", "time/work_s"):
        row[key] = _number(run.last(key))
    row["kept_fraction"] = _number(kept_fraction(run))
    for split in ("val", "test"):
        for metric in ("map", "pixel_ap", "loss", "clean_map"):
            for key in (f"{split}/{metric}", *(f"{split}/{metric}/{d}" for d in run.defects)):
                if key in run.metrics:
                    row[key] = _number(run.last(key))
    return row


def epoch_s(run: RecordedRun) -> float:
    """Mean seconds of scoring, training and waiting for data per epoch, the first epoch left out: it warms
    up and trains on every image."""
    work = run.values("time/work_s")
    return float((work[-1] - work[0]) / (len(work) - 1)) if len(work) > 1 else float("nan")


def kept_fraction(run: RecordedRun) -> float:
    """Mean share of the images trained on, NaN if it was never logged."""
    values = run.values("train/kept_fraction")
    return float(values.mean()) if len(values) else float("nan")


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


def _number(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.6g}"
