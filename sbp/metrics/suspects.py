"""What a guard's suspects are worth, where it is known which annotations are wrong."""

import numpy as np

from sbp.metrics import names


def suspect_metrics(suspects: np.ndarray | None, unmarked: np.ndarray | None) -> dict[str, float]:
    """Number, precision and recall of suspects (N,) bool against `unmarked` (N,) bool, images that hold a
    defect which is not annotated.

    None: no guard, or nothing known of that. Precision is left out without a suspect, recall without an
    unmarked image.
    """
    if suspects is None:
        return {}
    count = int(suspects.sum())
    metrics = {names.SUSPECTS: float(count)}
    if unmarked is None:
        return metrics
    found, there = int((suspects & unmarked).sum()), int(unmarked.sum())
    if count:
        metrics[names.SUSPECT_PRECISION] = found / count
    if there:
        metrics[names.SUSPECT_RECALL] = found / there
    return metrics
