"""Update and draw of a score book: prints update seconds, draw seconds and gigabytes taken.

`python -m experiments.bench.score_book ROWS [TILES]`: of ROWS images or, with TILES of each image, tiles.
"""

import sys
import time

import numpy as np

from experiments.bench.memory_watch import PeakMemory
from sbp.data.tiles import TileGrid
from sbp.data.units import SelectionUnits
from sbp.selection import Periodic, ScoreBook, Selective, SelectiveSampler

SIDE = 256


def units_of(rows: int, tiles: int) -> SelectionUnits:
    """Units without defects: images, or `tiles` tiles of each image in a row."""
    grid = TileGrid.covering(SIDE, SIDE * tiles, SIDE) if tiles > 1 else None
    return SelectionUnits(np.zeros((rows, 2), dtype=bool), grid)


def main(rows: int, tiles: int = 1) -> None:
    """Score every one of `rows` units, two defects, as images are scored, and draw an epoch at beta 8."""
    rng = np.random.default_rng(0)
    scores = rng.gamma(0.3, 1.0, (1, rows, 2)).astype(np.float32)
    everything = np.arange(rows)
    with PeakMemory() as memory:
        units, book = units_of(rows, tiles), ScoreBook(rows, 2)
        sampler = SelectiveSampler(book, Selective(), Periodic(), seed=0, focus=[0, 1], labels=units.labels)
        started = time.perf_counter()
        due = everything if tiles == 1 else units.of_images(units.images(sampler.images_to_score(1)))
        sampler.record_scores(due, scores, 1)
        updated = time.perf_counter()
        sampler.plan(1)
        drawn = time.perf_counter()
    print(updated - started, drawn - updated, (memory.peak_mib - memory.before_mib) / 1024 * 1.073741824)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
