"""A stratified draw: prints its seconds, and the gigabytes that score book, labels and draw take."""

import sys
import time

import numpy as np

from experiments.bench.memory_watch import PeakMemory
from sbp.selection import Reuse, ScoreBook, SelectiveSampler, Stratified


def main(images: int) -> None:
    """Draw an epoch of hard healthy images, of `images` images with two defects, 10 % and 1.5 % of them."""
    rng = np.random.default_rng(0)
    scores = rng.gamma(0.3, 1.0, (1, images, 2)).astype(np.float32)
    with PeakMemory() as memory:
        labels = np.stack([rng.random(images, dtype=np.float32) < share for share in (0.1, 0.015)], axis=1)
        sampler = SelectiveSampler(
            ScoreBook(images, 2), Stratified(), Reuse(), seed=0, focus=[0, 1], labels=labels
        )
        sampler.record_scores(np.arange(images), scores, 1)
        started = time.perf_counter()
        sampler.plan(1)
        seconds = time.perf_counter() - started
    print(seconds, (memory.peak_mib - memory.before_mib) / 1024 * 1.073741824)


if __name__ == "__main__":
    main(int(sys.argv[1]))
