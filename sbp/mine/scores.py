"""What labelling an image would teach, by the model alone: scores of images without annotations.

Without a label the twin of the loss is what the model expects it to be: its entropy. Each score is a map per
pixel, brought to one number per image and defect as losses are; a mean over the image drowns a defect of
0.3 % of its pixels, the maximum and the mean of the highest 1 % do not.
"""

import hashlib
from collections.abc import Sequence

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from sbp.engine.device import Compute, evaluating
from sbp.errors import UserError
from sbp.selection import Aggregation, Max, Mean, TopKMean

ENTROPY, HEALTHY_LOSS, BALD = "entropy", "healthy_loss", "bald"
HIGHEST, EXPECTED = "highest", "expected"
AGGREGATIONS: dict[str, Aggregation] = {"max": Max(), "mean": Mean(), "topk_mean": TopKMean(fraction=0.01)}
DROPPED = 0.2
"""Probability with which Monte-Carlo dropout leaves a channel out."""
SURELY = 1e-6


def entropy(p: Tensor) -> Tensor:
    """Of each pixel's belief p, in nats, 0 to ln 2: the loss that the model itself expects there."""
    p = p.clamp(SURELY, 1 - SURELY)
    return -p * p.log() - (1 - p) * (1 - p).log()


def healthy_loss(p: Tensor) -> Tensor:
    """-ln(1 - p), in nats: the loss if there were no defect; high where the model sees one."""
    return -(1 - p.clamp(max=1 - SURELY)).log()


def bald(samples: Tensor) -> Tensor:
    """(B, D, H, W) in nats: how much samples (S, B, D, H, W) of p disagree, the entropy of their mean less
    the mean of their entropies (Houlsby et al., arXiv:1112.5745, equation 2; by dropout: Gal et al.,
    arXiv:1703.02910)."""
    return (entropy(samples.mean(dim=0)) - entropy(samples).mean(dim=0)).clamp_min(0)


def names_of(defects: Sequence[str], dropout: int) -> list[str]:
    """SCORE/AGGREGATION/DEFECT, HIGHEST/DEFECT and EXPECTED/DEFECT, the columns of `scores_of`."""
    scores = (ENTROPY, HEALTHY_LOSS, *((BALD,) if dropout else ()))
    found = [f"{s}/{a}/{d}" for s in scores for a in AGGREGATIONS for d in defects]
    return [*found, *(f"{name}/{d}" for name in (HIGHEST, EXPECTED) for d in defects)]


def scores_of(p: Tensor, samples: Tensor | None = None) -> Tensor:
    """(B, number of names) of images with probabilities p (B, D, H, W): scores, the highest p, and how many
    defects are to be expected. samples: (S, B, D, H, W), of Monte-Carlo dropout."""
    maps = [entropy(p), healthy_loss(p), *(() if samples is None else (bald(samples),))]
    nothing = torch.zeros_like(p)
    parts = [aggregation(values, nothing) for values in maps for aggregation in AGGREGATIONS.values()]
    return torch.cat([*parts, p.amax(dim=(2, 3)), expected_defects(p)], dim=1)


def expected_defects(p: Tensor, threshold: float = 0.5, min_area: int = 4) -> Tensor:
    """(B, D) the sum of the mean probabilities of the predicted regions, 8-connected zones of at least
    `min_area` pixels of at least that probability."""
    result = torch.zeros(p.shape[:2])
    arrays = p.cpu().numpy()
    for b, d in np.ndindex(*p.shape[:2]):
        values = arrays[b, d]
        if values.max() < threshold:
            continue
        count, numbers = cv2.connectedComponents((values >= threshold).astype(np.uint8), connectivity=8)
        area = np.bincount(numbers.ravel(), minlength=count)
        total = np.bincount(numbers.ravel(), weights=values.ravel(), minlength=count)
        large = area[1:] >= min_area
        result[b, d] = float((total[1:] / area[1:])[large].sum())
    return result.to(p.device)


class Believer:
    """A model's beliefs of a batch of images, with samples by Monte-Carlo dropout if `dropout` is not 0: so
    many passes of its last layer, before which channels are left out at random. The random choice of an image
    depends on its name alone. Raises UserError for a model whose last layer is not known."""

    def __init__(self, model: nn.Module, compute: Compute, dropout: int = 0):
        self.model, self.compute, self.dropout = model, compute, dropout
        self.head = getattr(model, "segmentation_head", None)
        if dropout and self.head is None:
            raise UserError(
                f"--mc-dropout {dropout}: {type(model).__name__} has no segmentation_head whose input could "
                "be left out in part; must be 0 for models on tiles, and for those of other libraries"
            )

    def __call__(self, images: Tensor, names: Sequence[str]) -> tuple[Tensor, Tensor | None]:
        """p (B, D, H, W) and samples (S, B, D, H, W) or None, of images (B, H, W, C) uint8."""
        features: list[Tensor] = []
        hook = None
        if self.dropout:
            assert isinstance(self.head, nn.Module)
            hook = self.head.register_forward_pre_hook(lambda _, inputs: features.append(inputs[0]))
        try:
            with evaluating(self.model):
                p = self.model(self.compute.inputs(images)).float().sigmoid()
        finally:
            if hook is not None:
                hook.remove()
        if not self.dropout:
            return p, None
        with evaluating(self.model):
            samples = [self._sample(features[0], names, number) for number in range(self.dropout)]
        return p, torch.stack(samples)

    def _sample(self, features: Tensor, names: Sequence[str], number: int) -> Tensor:
        assert isinstance(self.head, nn.Module)
        kept = torch.stack([_kept(name, number, features.shape[1]) for name in names])
        return self.head(features * kept.to(features)[:, :, None, None]).float().sigmoid()


def _kept(name: str, number: int, channels: int) -> Tensor:
    """(channels,) factors of a pass: 0, or 1 / (1 - DROPPED), so that their mean is 1."""
    seed = int.from_bytes(hashlib.sha256(f"{number} {name}".encode()).digest()[:8], "big") >> 1
    drawn = torch.rand(channels, generator=torch.Generator().manual_seed(seed))
    return (drawn >= DROPPED) / (1 - DROPPED)
