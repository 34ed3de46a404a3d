"""Statistics over seeds: intervals of a mean, and how many seeds a decision takes."""

import math
from collections.abc import Sequence

import numpy as np

MANY_SEEDS = 200
"""More than anybody will train."""
POWER = 0.8
"""Share of studies that decide with the number of seeds that is named."""


def mean_interval(values: Sequence[float], logarithmic: bool = False) -> tuple[float, tuple[float, float]]:
    """Mean and two-sided 95 % Student-t interval of the mean; NaN bounds with fewer than two values.

    logarithmic: of the logarithms, for ratios; zeros are then left as they are, with the arithmetic mean.
    """
    from scipy.stats import t  # late: it takes half a second

    numbers = np.asarray(values, dtype=float)
    logarithmic = logarithmic and bool((numbers > 0).all())
    x = np.log(numbers) if logarithmic else numbers
    mean, back = float(x.mean()), math.exp if logarithmic else float
    if len(x) < 2 or not np.isfinite(x).all():
        return back(mean), (math.nan, math.nan)
    half = float(t.ppf(0.975, len(x) - 1)) * float(x.std(ddof=1)) / math.sqrt(len(x))
    return back(mean), (back(mean - half), back(mean + half))


def seeds_needed(distance: float, spread: float) -> int:
    """Fewest seeds, at least two, with which a share POWER of studies have a 95 % interval that does not
    reach the edge of a region, `distance` away from the mean, where the standard deviation over seeds is
    `spread`; MANY_SEEDS + 1 for more than MANY_SEEDS. By Student's t for both quantiles, which for few seeds
    is a little too low."""
    from scipy.stats import t

    for seeds in range(2, MANY_SEEDS + 1):
        if (t.ppf(0.975, seeds - 1) + t.ppf(POWER, seeds - 1)) * spread / math.sqrt(seeds) <= distance:
            return seeds
    return MANY_SEEDS + 1
