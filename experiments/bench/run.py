"""`make bench`: what the project promises about speed and memory, measured on this machine.

Ratios come from one process, their two sides interleaved, medians of several repetitions. Prints a
table and writes it to outputs/bench/bench.csv with commit and hardware.
"""

import argparse
import copy
import csv
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader

from experiments.bench.bare_loop import Images, bare_epoch
from experiments.bench.setup import IMAGES, trainer_with
from sbp.config.paths import output_root
from sbp.engine.trainer import Trainer
from sbp.tracking.provenance import provenance
from sbp.utils.pipes import outlive_closed_pipes

STRATEGIES = ("every_epoch", "stale", "smart", "stale_smart", "reuse")
PERIOD = 4  # epochs after which every strategy has been through its cycle (stale scores every 4)

Row = tuple[str, str, str, str]  # what, measured, target, verdict


def timed(action: Callable[[], object]) -> float:
    """Seconds that `action` takes."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def verdict(ok: bool) -> str:
    """One word for the table."""
    return "reached" if ok else "MISSED"


def loop_overhead(repetitions: int) -> Row:
    """A baseline epoch of the trainer against the bare loop, alternating."""
    trainer = trainer_with("selection=none")
    model = copy.deepcopy(trainer.model)
    optimizer = torch.optim.AdamW(model.parameters(), 0.002, weight_decay=0.01)
    images = Images(trainer.data.train, trainer.loader.loader.dataset.augmentation)
    loader = DataLoader(images, batch_size=trainer.loader.batches.batch_size, shuffle=True)
    mean, std = trainer.data.mean[0], trainer.data.std[0]
    epochs = trainer.epochs()
    next(epochs)
    bare_epoch(model, optimizer, loader, mean, std)
    ratios = []
    for _ in range(repetitions):
        ours = timed(lambda: next(epochs))
        bare = timed(lambda: bare_epoch(model, optimizer, loader, mean, std))
        ratios.append(ours / bare)
    ratio = statistics.median(ratios)
    return ("baseline epoch / bare PyTorch loop", f"{ratio:.3f}", "at most 1.05", verdict(ratio <= 1.05))


def epoch_times(repetitions: int) -> list[Row]:
    """Work seconds per epoch at beta 8 against the baseline's, beside the ideal 1 / (k + r phi)."""
    baseline = trainer_with("selection=none")
    arms = {name: trainer_with("beta=b8", f"staleness={name}") for name in STRATEGIES}
    runs = {name: arm.epochs() for name, arm in arms.items()}
    baseline_epochs = baseline.epochs()
    for epochs in (baseline_epochs, *runs.values()):
        for _ in range(1 + PERIOD):  # warm-up epoch, first full scoring, first cycle
            next(epochs)
    speedups: dict[str, list[float]] = {name: [] for name in STRATEGIES}
    costs: dict[str, list[float]] = {name: [] for name in STRATEGIES}
    for _ in range(repetitions):
        baseline_s = [_work(baseline, baseline_epochs, 1)[0]]
        arm_s = {}
        for name in STRATEGIES:
            arm_s[name], cost = _work(arms[name], runs[name], PERIOD)
            costs[name].append(cost / PERIOD)
        baseline_s.append(_work(baseline, baseline_epochs, 1)[0])
        for name in STRATEGIES:
            speedups[name].append(statistics.mean(baseline_s) / (arm_s[name] / PERIOD))
    rows = []
    for name in STRATEGIES:
        measured, ideal = statistics.median(speedups[name]), 1 / statistics.median(costs[name])
        share = measured / ideal
        text = f"{measured:.2f}x of ideal {ideal:.2f}x = {share:.0%}"
        rows.append((f"epoch speed-up, beta 8, {name}", text, "at least 85 %", verdict(share >= 0.85)))
    return rows


def _work(trainer: Trainer, epochs, count: int) -> tuple[float, float]:
    """Work seconds and cost in baseline epochs of the next `count` epochs."""
    seconds, cost = trainer.work_s, trainer.ledger.baseline_epochs
    for _ in range(count):
        next(epochs)
    return trainer.work_s - seconds, trainer.ledger.baseline_epochs - cost


def scoring_cost(repetitions: int) -> Row:
    """The scoring pass against training on the same images, alternating."""
    trainer = trainer_with("selection=none")
    everything, epochs = np.arange(len(trainer.data.train)), trainer.epochs()
    next(epochs)
    ratios = []
    for number in range(repetitions):
        score_s = timed(lambda n=number: trainer.scorer.score(trainer.data.train, everything, n))
        ratios.append(score_s / _work(trainer, epochs, 1)[0])
    ratio = statistics.median(ratios)
    return ("scoring pass / training pass", f"{ratio:.3f}", "at most 0.333", verdict(ratio <= 1 / 3))


def stratified_cost(repetitions: int) -> Row:
    """Work seconds for each image trained on: hard healthy images against balanced, alternating."""
    arms = [trainer_with(f"arm={arm}") for arm in ("hard_healthy", "balanced")]
    runs = [(arm, arm.epochs()) for arm in arms]
    for _, epochs in runs:
        for _ in range(1 + PERIOD):
            next(epochs)
    ratios = []
    for _ in range(repetitions):
        hard, balanced = (_seconds_per_image(arm, epochs) for arm, epochs in runs)
        ratios.append(hard / balanced)
    ratio = statistics.median(ratios)
    label = "hard healthy / balanced, per image trained on"
    return (label, f"{ratio:.3f}", "at most 1.10", verdict(ratio <= 1.10))


def _seconds_per_image(trainer: Trainer, epochs) -> float:
    trained = trainer.ledger.trained
    seconds, _ = _work(trainer, epochs, 2 * PERIOD)
    return seconds / (trainer.ledger.trained - trained)


def isolated(module: str, *arguments: str, count: int = 3) -> list[float]:
    """Numbers that a fresh process prints: memory is measured where nothing else has used any."""
    command = [sys.executable, "-m", f"experiments.bench.{module}", *arguments]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [float(word) for word in output.split()[-count:]]


def score_book(repetitions: int) -> list[Row]:
    """Update and draw for 10 million images, and for as many tiles, 64 an image."""
    rows = []
    for what, *tiles in (("images",), ("tiles", "64")):
        samples = [isolated("score_book", "10000000", *tiles) for _ in range(repetitions)]
        seconds = statistics.median(sample[0] + sample[1] for sample in samples)
        gigabytes = max(sample[2] for sample in samples)
        name = f"score book, 10 M {what}"
        rows.append((f"{name}: update + draw", f"{seconds:.2f} s", "at most 2 s", verdict(seconds <= 2)))
        rows.append((f"{name}: memory", f"{gigabytes:.2f} GB", "at most 1 GB", verdict(gigabytes <= 1)))
    return rows


def strata(repetitions: int) -> list[Row]:
    """A stratified draw from 10 million images."""
    samples = [isolated("strata", "10000000", count=2) for _ in range(repetitions)]
    seconds, gigabytes = statistics.median(sample[0] for sample in samples), max(s[1] for s in samples)
    return [
        ("stratified draw, 10 M images", f"{seconds:.2f} s", "at most 2 s", verdict(seconds <= 2)),
        (
            "stratified draw: memory",
            f"{gigabytes:.2f} GB",
            "at most 1 GB",
            verdict(gigabytes <= 1),
        ),
    ]


def memory_growth() -> Row:
    """Peak anonymous memory of a run over 16 times the images, cached images not counted."""
    small, large = isolated("memory", "500")[-1], isolated("memory", "8000")[-1]
    text = f"{small:.0f} MiB at 500, {large:.0f} MiB at 8,000 images"
    return ("peak memory of a run", text, "growth below 5 %", verdict(large <= 1.05 * small))


def recording() -> list[Row]:
    """What the tracker's calls, saving states and sending cost uniform training and short epochs."""
    rows = []
    for name, epochs, overrides in (
        ("baseline", 6, ("selection=none",)),
        ("beta 8, stale_smart", 40, ("beta=b8", "staleness=stale_smart")),
    ):
        tracking, saving, sending, epoch_s = isolated("recording", str(epochs), *overrides, count=4)
        for what, share, most in (("tracking", tracking, 1), ("saving", saving, 3), ("sending", sending, 3)):
            label, measured = f"{what}, {name}", f"{share:.2%} of an epoch of {epoch_s:.2f} s"
            rows.append((label, measured, f"at most {most} %", verdict(100 * share <= most)))
    return rows


def waiting() -> list[Row]:
    """How long uniform training waits for its images."""
    rows = []
    for name, *arguments in (
        ("cached", "0", "6"),
        ("cached, augmentation=inspection", "0", "6", "augmentation=inspection"),
        ("streamed from files", "512", "6", "data.cache=stream"),
        ("streamed, in tiles", "512", "6", "data.cache=stream", "data.fit=tile", "data.image_size=32"),
    ):
        share = isolated("waiting", *arguments, count=1)[0]
        text = f"{share:.1%} of an epoch's work"
        rows.append((f"waiting for images, {name}", text, "at most 5 %", verdict(share <= 0.05)))
    return rows


def main() -> None:
    """Measure, print the table, write the CSV."""
    outlive_closed_pipes()
    parser = argparse.ArgumentParser("make bench")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--csv", type=Path, default=Path(output_root()) / "bench" / "bench.csv")
    arguments = parser.parse_args()
    n = arguments.repetitions
    about = provenance()
    print(f"{IMAGES} images, {torch.get_num_threads()} threads, {about['hardware.cpu']}", flush=True)
    rows: list[Row] = []
    for measure in (
        lambda: [loop_overhead(n)],
        lambda: epoch_times(n),
        lambda: [scoring_cost(n)],
        lambda: [stratified_cost(n)],
        lambda: score_book(3),
        lambda: strata(3),
        lambda: [memory_growth()],
        recording,
        waiting,
    ):
        for row in measure():
            rows.append(row)
            print(f"{row[0]:42} {row[1]:38} {row[2]:18} {row[3]}", flush=True)
    arguments.csv.parent.mkdir(parents=True, exist_ok=True)
    with open(arguments.csv, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["what", "measured", "target", "verdict", "commit", "cpu", "cores", "torch"])
        facts = [about[k] for k in ("git.commit", "hardware.cpu", "hardware.cores", "version.torch")]
        writer.writerows([*row, *facts] for row in rows)
    print(f"written to {arguments.csv}")


if __name__ == "__main__":
    main()
