"""What several processes gain: images per second in training, scoring and evaluation, beside one process.

`python -m experiments.bench.distributed [--layouts 1x1,1x2,2x1] [--repetitions 3] [overrides]` trains the
same epochs with so many processes of so many threads each, alternating, and reads the seconds of each part
from the run's own log, without the first epoch. Prints a row for each layout and writes
outputs/bench/distributed.csv.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from sbp.config.paths import output_root
from sbp.metrics import names
from sbp.report.results import write_rows
from sbp.tracking.provenance import provenance

PARTS = ("training", "scoring", "validation")
SETTINGS = (
    "tracking=none",
    "staleness=every_epoch",
    "selection.warmup_epochs=0",
    "beta=b2",
    "scale.train_images=512",
    "scale.val_images=256",
    "scale.test_images=8",
    "scale.batch_size=32",
    "evaluation.test=false",
    "evaluation.every=1",
    "budget.compute=null",
    "budget.epochs=4",
)
"""Epochs that score all images, train on a third of them and evaluate."""
VAL_IMAGES = 256


def layout(text: str) -> tuple[int, int]:
    """Processes and threads of each, from "2x1"."""
    processes, threads = text.split("x")
    return int(processes), int(threads)


def rates(processes: int, threads: int, overrides: Sequence[str]) -> dict[str, float]:
    """Images per second of each part, over all epochs but the first."""
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    command = [sys.executable, "-m", "sbp.train", *SETTINGS, *overrides, f"hydra.run.dir={folder}/run"]
    command += [f"trainer.processes={processes}", f"trainer.threads={threads}"]
    environment = {**os.environ, "SBP_OUTPUT": str(output_root())}
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
    epochs = [json.loads(line) for line in (folder / "run" / "epochs.jsonl").read_text().splitlines()][1:]
    shutil.rmtree(folder)
    images = {
        "training": sum(e[names.TRAIN_IMAGES] for e in epochs),
        "scoring": 512 * sum(e[names.SCORED_FRACTION] for e in epochs),
        "validation": VAL_IMAGES * len(epochs),
    }
    return {part: images[part] / sum(e[names.seconds(part)] for e in epochs) for part in PARTS}


def main() -> None:
    """Measure every layout, print the table, write the CSV."""
    parser = argparse.ArgumentParser("python -m experiments.bench.distributed")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    parser.add_argument(
        "--layouts", default="1x1,1x2,2x1", help="processes x threads; the first is compared with"
    )
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--csv", type=Path, default=Path(output_root()) / "bench" / "distributed.csv")
    options = parser.parse_args()
    layouts = [layout(text) for text in options.layouts.split(",")]
    found = [[rates(*one, options.overrides) for one in layouts] for _ in range(options.repetitions)]
    about = provenance()
    facts = {key: str(about[key]) for key in ("git.commit", "hardware.cpu", "version.torch")}
    rows = []
    for number, (processes, threads) in enumerate(layouts):
        row = {"processes": str(processes), "threads each": str(threads)}
        for part in PARTS:
            rate = statistics.median(repetition[number][part] for repetition in found)
            ratio = statistics.median(r[number][part] / r[0][part] for r in found)
            row[part] = f"{rate:.0f} images/s, {ratio:.2f}x"
        rows.append(row | facts)
        print("  ".join(f"{key} {value}" for key, value in row.items()), flush=True)
    write_rows(rows, options.csv)
    print(f"written to {options.csv}")


if __name__ == "__main__":
    main()
