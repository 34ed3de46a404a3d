"""Images that are read from their files whenever they are needed, in the shape of an array."""

from collections import OrderedDict
from collections.abc import Sequence

import numpy as np

from sbp.data.source import Sample, Source

KEPT = 32
"""Samples kept in memory: a batch's masks are asked for right after its images."""


class SampleReader:
    """Reads a split's samples, and keeps the last ones in memory. rows: their numbers in the source."""

    def __init__(self, source: Source, split: str, rows: Sequence[int]):
        self.source, self.split, self.rows = source, split, rows
        self.recent: OrderedDict[int, Sample] = OrderedDict()

    def __len__(self) -> int:
        return len(self.rows)

    def __call__(self, number: int) -> Sample:
        if number not in self.recent:
            self.recent[number] = self.source.sample(self.split, self.rows[number])
            if len(self.recent) > KEPT:
                self.recent.popitem(last=False)
        return self.recent[number]


class StreamedArray:
    """The images or the masks (`part`, as in Sample.arrays) of a split: an array (N, H, W, K) uint8, indexed
    along the first axis. Raises UserError, naming the file, for one that has become unreadable."""

    def __init__(self, reader: SampleReader, part: str, shape: Sequence[int]):
        self.reader, self.part = reader, part
        self.shape = (len(reader), *shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: int | slice | np.ndarray) -> np.ndarray:
        if isinstance(key, int | np.integer):
            return self.reader(range(len(self))[int(key)]).arrays()[self.part]
        numbers = np.arange(len(self))[key]
        if not len(numbers):
            return np.empty((0, *self.shape[1:]), dtype=np.uint8)
        return np.stack([self.reader(int(number)).arrays()[self.part] for number in numbers])
