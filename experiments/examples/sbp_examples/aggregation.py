"""An aggregation: a quantile of the pixel losses, between the median and the maximum."""

from torch import Tensor

from sbp.plugins.checks import fraction
from sbp.selection import AGGREGATIONS, Aggregation


@AGGREGATIONS.register("quantile")
class Quantile(Aggregation):
    """The q-quantile of an image's pixel losses, q in [0, 1]; 1 is the maximum."""

    def __init__(self, q: float = 0.99):
        fraction(q=q)
        self.q = q

    def __call__(self, loss_map: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
        if valid is not None:
            loss_map = loss_map.masked_fill(~valid.bool(), 0.0)
        return loss_map.flatten(2).quantile(self.q, dim=2)
