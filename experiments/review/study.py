"""Does `sbp review` find missing annotations? On generated images, where they are known.

    python -m experiments.review.study [--doses 0.05,0.2] [--seeds 0] [--folds 5] [--cleanlab PYTHON]

For each dose of missing annotations and each seed: a run (arm=balanced, short budget), its review by its
own model and out of fold; beside it the same predictions ranked by their highest loss, by their mean loss
and, with a Python that has cleanlab, by cleanlab. Writes experiments/review/results.csv; a study that was
stopped goes on.
"""

import argparse
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from experiments.review.ranking import FOUND, average_precision, hits, precision_at, recall_at
from sbp.build.data import open_cached
from sbp.config import from_values
from sbp.config.paths import output_root, register_resolvers
from sbp.data.dataset import Split
from sbp.data.truth import unmarked
from sbp.data.units import SelectionUnits
from sbp.report.results import read_rows, write_rows
from sbp.review import Review, review
from sbp.run.checkpoint import load_checkpoint
from sbp.tracking.provenance import provenance

RESULTS = Path(__file__).parent / "results.csv"
FIRST = 20


def main(doses: Sequence[float], seeds: Sequence[int], folds: int, cleanlab: str | None, more: Sequence[str]):
    register_resolvers()
    rows = read_rows(RESULTS)
    for dose in doses:
        for seed in seeds:
            folder = Path(output_root()) / "review_study" / f"missing_{dose:g}_seed_{seed}"
            train(folder, dose, seed, more)
            for asked in dict.fromkeys((0, folds)):
                out = folder / f"review_{asked}"
                new = list(measured(review(folder, asked, out), folder, out, cleanlab))
                key = {"missing": f"{dose:g}", "seed": str(seed), "folds": str(asked)}
                rows = [row for row in rows if {k: row[k] for k in key} != key]
                rows += [key | row | about() for row in new]
                write_rows(rows, RESULTS)
    for row in rows:
        print(*(f"{name}={row[name]}" for name in row if row[name] and not name.startswith(("git", "hard"))))


def train(folder: Path, dose: float, seed: int, more: Sequence[str]) -> None:
    """The run whose annotations are reviewed, unless it is there."""
    if (folder / "histograms").is_dir() or (folder / "best.pt").is_file():
        return
    words = ["arm=balanced", f"data.missing_annotations={dose}", f"seed={seed}", "tracking=none"]
    words += ["trainer.threads=1", "evaluation.count=8", "evaluation.test=false", f"hydra.run.dir={folder}"]
    subprocess.run([sys.executable, "-m", "sbp.train", *words, *more], check=True)


def measured(found: Review, run: Path, out: Path, cleanlab: str | None) -> Iterator[dict[str, str]]:
    """A row per ranking of the same predictions."""
    split = open_cached(from_values(load_checkpoint(run / "best.pt").config)).train
    positive = unmarked(split, SelectionUnits(split.labels))
    assert positive is not None
    probabilities = np.load(out / "probabilities.npy", mmap_mode="r") / np.float32(255)
    named, total = hits(found.suspects, split)
    scores = np.zeros(len(split))
    for suspect in reversed([s for s in found.suspects if s.kind in FOUND]):
        scores[suspect.image] = suspect.score
    regions = {
        "regions": str(total),
        "precision_20": f"{precision_at(named, FIRST):.3f}",
        "precision_n": f"{precision_at(named, total):.3f}",
        "recall_2n": f"{recall_at(named, total, 2 * total):.3f}",
    }
    yield row("review", scores, positive) | regions
    loss = pixel_losses(probabilities, split)
    yield row("highest loss", loss.reshape(len(split), -1).max(axis=1), positive)
    yield row("mean loss", loss.reshape(len(split), -1).mean(axis=1), positive)
    if cleanlab:
        yield row("cleanlab", by_cleanlab(cleanlab, probabilities, split, out), positive)


def row(ranking: str, scores: np.ndarray, positive: np.ndarray) -> dict[str, str]:
    """What the ranking of images is worth: n of them lack the annotation of a defect."""
    order, n = np.argsort(-scores, kind="stable"), int(positive.sum())
    return {
        "ranking": ranking,
        "images": str(n),
        "image_ap": f"{average_precision(scores, positive):.3f}",
        "image_precision_n": f"{positive[order[:n]].mean():.3f}" if n else "",
    }


def pixel_losses(probabilities: np.ndarray, split: Split) -> np.ndarray:
    """(N, H, W, D) cross-entropy in nats."""
    p, masks = np.clip(probabilities, 1e-4, 1 - 1e-4), np.asarray(split.masks[:])
    return np.asarray(-np.log(np.where(masks == 1, p, 1 - p)))


def by_cleanlab(python: str, probabilities: np.ndarray, split: Split, out: Path) -> np.ndarray:
    """(N,) cleanlab's suspicion. It knows one class per pixel: the first annotated defect, or none."""
    masks = np.asarray(split.masks[:]) == 1
    labels = np.where(masks.any(axis=3), masks.argmax(axis=3) + 1, 0)
    nothing = np.prod(1 - probabilities, axis=3, keepdims=True)
    classes = np.concatenate([nothing, probabilities], axis=3)
    classes = np.moveaxis(classes / classes.sum(axis=3, keepdims=True), 3, 1)
    given, target = out / "cleanlab.npz", out / "cleanlab.npy"
    np.savez(given, labels=labels, pred_probs=classes)
    script = Path(__file__).with_name("cleanlab_scores.py")
    subprocess.run([python, str(script), str(given), str(target)], check=True)
    given.unlink()
    return np.asarray(np.load(target))


def about() -> dict[str, str]:
    """Commit and hardware."""
    known = provenance()
    return {key: str(known.get(key, "")) for key in ("git.commit", "hardware.cpu")}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--doses", default="0.05,0.2")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--cleanlab", help="a Python that has cleanlab")
    parser.add_argument("overrides", nargs="*", help="for every training, KEY=VALUE")
    given = parser.parse_args()
    listed = [float(d) for d in given.doses.split(",")], [int(s) for s in given.seeds.split(",")]
    main(*listed, given.folds, given.cleanlab, given.overrides)
