"""Cross-validation: which training image is in which part, and the data set without one of them."""

import numpy as np

from sbp.config import Config
from sbp.data.dataset import DataSet
from sbp.data.disk.source import ListedSource
from sbp.data.source import Source
from sbp.data.splits.grouped import split_by_group
from sbp.errors import UserError


def fold_numbers(config: Config, source: Source, data: DataSet) -> np.ndarray:
    """(N,) int, the part that each training image is in, 0 to folds.count - 1.

    Whole groups at a time, each defect in each part as far as groups allow, drawn from data.seed. Raises
    UserError where there are fewer groups than parts.
    """
    count, train = config.folds.count, data.train
    groups = groups_of(source, train.names)
    if len(set(groups)) < count:
        raise UserError(
            f"folds.count={count}: the training images are {len(set(groups))} groups, must be at most as many"
        )
    shares = {str(k): 1 / count for k in range(count)}
    return np.array(split_by_group(groups, train.labels, shares, config.data.seed), dtype=np.int64)


def groups_of(source: Source, names: list[str]) -> list[str]:
    """The group of each image by name: what the layout says, else each by itself."""
    if not isinstance(source, ListedSource) or source.splitting.by == "image":
        return names
    known = {item.name: item.group for item in source.listing.items}
    return [known[name] for name in names]


def without_fold(config: Config, source: Source, data: DataSet) -> DataSet:
    """The data set without the training images of the part folds.without.

    What it is normalised by stays that of all training images.
    """
    count, without = config.folds.count, config.folds.without
    kept = np.flatnonzero(fold_numbers(config, source, data) != without)
    return data.with_train(data.train.rows(kept), f"without_{without}_of_{count}")
