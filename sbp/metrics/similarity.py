"""How alike two gradients are."""

import torch
from torch import Tensor


def cosine(a: Tensor, b: Tensor) -> float:
    """Cosine of the angle between two flat gradients (n,), in [-1, 1]; NaN if one of them is zero."""
    norms = torch.linalg.vector_norm(a) * torch.linalg.vector_norm(b)
    return float(torch.dot(a, b) / norms) if norms > 0 else float("nan")


def equal_signs(a: Tensor, b: Tensor) -> float:
    """Share of coordinates of two flat gradients (n,) that have the same sign, in [0, 1].

    Coordinates that are exactly 0 in both say nothing, as behind a unit that never fires, and are left out;
    0 in one alone counts as unequal. NaN if nothing is left.
    """
    known = (a != 0) | (b != 0)
    if not known.any():
        return float("nan")
    return float((torch.sign(a[known]) == torch.sign(b[known])).float().mean())
