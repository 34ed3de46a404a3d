"""Update and draw of a score book: prints update seconds, draw seconds and gigabytes taken."""

import sys
import time

import numpy as np

from experiments.bench.memory_watch import PeakMemory
from sbp.selection import Periodic, ScoreBook, Selective, SelectiveSampler


def main(images: int) -> None:
    """Score every one of `images` images, two defects, and draw an epoch at beta 8."""
    rng = np.random.default_rng(0)
    scores = rng.gamma(0.3, 1.0, (1, images, 2)).astype(np.float32)
    everything = np.arange(images)
    with PeakMemory() as memory:
        book = ScoreBook(images, 2)
        sampler = SelectiveSampler(book, Selective(), Periodic(), seed=0, focus=[0, 1])
        started = time.perf_counter()
        sampler.record_scores(everything, scores, 1)
        updated = time.perf_counter()
        sampler.plan(1)
        drawn = time.perf_counter()
    print(updated - started, drawn - updated, (memory.peak_mib - memory.before_mib) / 1024 * 1.073741824)


if __name__ == "__main__":
    main(int(sys.argv[1]))
