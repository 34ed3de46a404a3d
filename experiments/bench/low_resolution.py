"""What scoring at a lower resolution keeps of the ranking, and what it saves.

`python -m experiments.bench.low_resolution [--factors 0.5,0.25] [--sizes 64,128] [--epochs 1,8] [overrides]`
trains the baseline for a while, then scores the same images at full and at lower resolution with the same
weights: rank correlation (Spearman) of the focused scores, share of the top tenth that is found, and time,
passes alternating on one thread. Prints a row for each and writes outputs/bench/low_resolution.csv.
"""

import argparse
import copy
import statistics
from pathlib import Path

import numpy as np
import torch
from scipy.stats import spearmanr

from experiments.bench.run import timed
from experiments.bench.setup import config_with, trainer_of
from sbp.config.paths import output_root
from sbp.engine.trainer import Trainer
from sbp.report.results import write_rows
from sbp.tracking.provenance import provenance

IMAGES = 1000


def top_found(full: np.ndarray, low: np.ndarray, share: float = 0.1) -> float:
    """Of the images with the largest scores `full` (n,), the share that is among the largest of `low`."""
    count = max(1, round(share * len(full)))
    largest = [set(np.argsort(-scores, kind="stable")[:count].tolist()) for scores in (full, low)]
    return len(largest[0] & largest[1]) / count


def row(trainer: Trainer, factor: float, repetitions: int) -> dict[str, str]:
    """Full against lower resolution, with the trainer's weights."""
    split, everything = trainer.data.train, np.arange(len(trainer.data.train))
    low = copy.copy(trainer.scorer)
    low.scale_factor = factor
    scores = [scorer.score(split, everything, 0)[0].max(axis=1) for scorer in (trainer.scorer, low)]
    seconds = [
        [timed(lambda s=scorer: s.score(split, everything, 0)) for scorer in (trainer.scorer, low)]
        for _ in range(repetitions)
    ]
    return {
        "scale_factor": f"{factor:g}",
        "rank correlation": f"{spearmanr(*scores).statistic:.3f}",
        "top tenth found": f"{top_found(*scores):.0%}",
        "time": f"{statistics.median(b / a for a, b in seconds):.2f} of full",
    }


def main() -> None:
    """Measure every size, stage and factor, print the table, write the CSV."""
    parser = argparse.ArgumentParser("python -m experiments.bench.low_resolution")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    parser.add_argument("--factors", default="0.5,0.25")
    parser.add_argument("--sizes", default="64,128")
    parser.add_argument("--epochs", default="1,8", help="after which the weights score")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--csv", type=Path, default=Path(output_root()) / "bench" / "low_resolution.csv")
    options = parser.parse_args()
    torch.set_num_threads(1)
    about = provenance()
    facts = {key: str(about[key]) for key in ("git.commit", "hardware.cpu", "version.torch")}
    stages, rows = [int(epoch) for epoch in options.epochs.split(",")], []
    for size in map(int, options.sizes.split(",")):
        common = ["selection=balanced", "scale.batch_size=8", "evaluation.every=1000000"]
        trainer = trainer_of(
            config_with(*common, f"data.image_size={size}", *options.overrides, images=IMAGES)
        )
        for epoch, _ in zip(range(1, max(stages) + 1), trainer.epochs(), strict=False):
            if epoch not in stages:
                continue
            for factor in map(float, options.factors.split(",")):
                measured = {"pixels": str(size), "epochs trained": str(epoch)}
                measured |= row(trainer, factor, options.repetitions)
                rows.append(measured | facts)
                print("  ".join(f"{key} {value}" for key, value in measured.items()), flush=True)
    write_rows(rows, options.csv)
    print(f"written to {options.csv}")


if __name__ == "__main__":
    main()
