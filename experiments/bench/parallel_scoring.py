"""What scoring beside training gains in wall time, beside the sequential pass and beside the ideal.

`python -m experiments.bench.parallel_scoring [--repetitions 3] [--epochs 8] [--parallel process] [overrides]`
trains the same epochs with the scoring pass before the draw and beside training, alternating, one thread
each, for every_epoch, stale and stale_smart. Ideal: passes cost nothing but what is longer than the training
they run beside. Prints a row for each and writes them to outputs/bench/parallel_scoring.csv.
"""

import argparse
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from experiments.bench.run import timed
from experiments.bench.setup import config_with, trainer_of
from sbp.config.paths import output_root
from sbp.metrics import names
from sbp.report.results import write_rows
from sbp.tracking.provenance import provenance

CASES = (("every_epoch", 1), ("stale", 1), ("stale", 2), ("stale_smart", 1), ("stale_smart", 2))
"""Staleness, and the age of the weights at the hand-over, in epochs."""
FIRST = 5
"""The epoch from which is timed: the second one in which stale scores, of N = 4 and after one of warm-up."""


@dataclass(frozen=True)
class Seconds:
    """Wall seconds of a run's selective epochs, and what of each went into scoring and training."""

    wall: float
    scoring: list[float]
    training: list[float]


def ideal(sequential: Seconds, age: int) -> float:
    """Wall seconds if a pass cost only what is longer than the `age` epochs' training it runs beside."""
    hidden = age * statistics.mean(sequential.training)
    return sum(sequential.training) + sum(max(0.0, seconds - hidden) for seconds in sequential.scoring)


def run(staleness: str, epochs: int, overrides: Sequence[str]) -> Seconds:
    """Time so many epochs once the first cycle is over and passes are a steady stream."""
    config = config_with(
        f"staleness={staleness}",
        "beta=b8",
        "scale.batch_size=8",
        "evaluation.every=1000000",
        *overrides,
        f"budget.epochs={FIRST + epochs + 2}",  # the last is not timed: no pass runs beside it
    )
    trainer = trainer_of(config)
    records = trainer.epochs()
    for _ in range(FIRST):
        next(records)
    metrics: list[dict[str, float]] = []
    wall = timed(lambda: metrics.extend(next(records).metrics for _ in range(epochs)))
    if trainer.parallel is not None:
        trainer.parallel.close()
    scoring = [m[names.seconds("scoring")] for m in metrics]
    training = [m[names.seconds("training")] + m[names.seconds("data")] for m in metrics]
    return Seconds(wall, scoring, training)


def measured(
    staleness: str, age: int, epochs: int, repetitions: int, beside: Sequence[str]
) -> dict[str, str]:
    """A row: medians over repetitions, both sides alternating. beside: overrides, scoring.parallel first."""
    before, parallel, ideals = [], [], []
    for _ in range(repetitions):
        sequential = run(staleness, epochs, beside[1:])
        before.append(sequential.wall)
        ideals.append(ideal(sequential, age))
        parallel.append(run(staleness, epochs, [*beside, f"scoring.max_age={age}"]).wall)
    a, b, c = (statistics.median(seconds) / epochs for seconds in (before, parallel, ideals))
    return {
        "staleness": staleness,
        "max_age": str(age),
        "s per epoch, before the draw": f"{a:.2f}",
        "beside training": f"{b:.2f}",
        "speed-up": f"{a / b:.2f}x",
        "ideal": f"{a / c:.2f}x",
    }


def main() -> None:
    """Measure every case, print the table, write the CSV."""
    parser = argparse.ArgumentParser("python -m experiments.bench.parallel_scoring")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--parallel", default="process", choices=("process", "device"))
    parser.add_argument("--csv", type=Path, default=Path(output_root()) / "bench" / "parallel_scoring.csv")
    options = parser.parse_args()
    torch.set_num_threads(1)
    about = provenance()
    facts = {key: str(about[key]) for key in ("git.commit", "hardware.cpu", "version.torch")}
    rows = []
    for staleness, age in CASES:
        beside = [f"scoring.parallel={options.parallel}", *options.overrides]
        row = measured(staleness, age, options.epochs, options.repetitions, beside)
        rows.append({"parallel": options.parallel} | row | facts)
        print("  ".join(f"{key} {value}" for key, value in row.items()), flush=True)
    write_rows(rows, options.csv)
    print(f"written to {options.csv}")


if __name__ == "__main__":
    main()
