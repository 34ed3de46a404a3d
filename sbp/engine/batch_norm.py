"""BatchNorm over a batch that several ranks share: statistics of the whole batch, as in one process.

torch's SyncBatchNorm needs a GPU, and knows neither the layers of timm that apply their activation
themselves nor a rank that has nothing of the batch.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sbp.engine.ranks import batch_is_shared, sum_over_ranks


class SharedBatchNorm(nn.BatchNorm2d):
    """Takes the place of a BatchNorm2d, with its weights under the same names.

    drop, act: what the layer does after normalising, as timm's BatchNormAct2d.
    """

    def __init__(self, layer: nn.BatchNorm2d):
        super().__init__(
            layer.num_features, layer.eps, layer.momentum, layer.affine, layer.track_running_stats
        )
        for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
            setattr(self, name, getattr(layer, name))
        self.drop = getattr(layer, "drop", nn.Identity())
        self.act = getattr(layer, "act", nn.Identity())
        self.training = layer.training

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, H, W) to the same; B may be 0 on some ranks."""
        uses_batch = self.training or self.running_mean is None
        shared = batch_is_shared() and uses_batch
        return self.act(self.drop(self._over_ranks(input) if shared else super().forward(input)))

    def _over_ranks(self, x: Tensor) -> Tensor:
        # near the mean already, so that squares lose no digits; the same on every rank
        centre = x.new_zeros(self.num_features) if self.running_mean is None else self.running_mean.clone()
        weight = x.new_ones(self.num_features) if self.weight is None else self.weight
        bias = x.new_zeros(self.num_features) if self.bias is None else self.bias
        normalised, mean, variance, count = _Normalise.apply(x, weight, bias, centre, self.eps)
        self._track(mean, variance, count)
        return normalised

    @torch.no_grad()
    def _track(self, mean: Tensor, variance: Tensor, count: Tensor) -> None:
        if not self.training or self.running_mean is None:
            return
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked += 1
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance * count / (count - 1).clamp_min(1), share)


class _Normalise(torch.autograd.Function):
    """(x - mean) / sqrt(variance + eps) * weight + bias, mean and variance over all ranks' pixels; with the
    gradient of Ioffe and Szegedy, arXiv:1502.03167, section 3, its two sums over all ranks."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, centre: Tensor, eps: float
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        shifted = x.float() - _channels(centre)
        count = shifted.new_tensor([x.numel() / x.shape[1]])
        mine = torch.cat([shifted.sum((0, 2, 3)), shifted.square().sum((0, 2, 3)), count])
        sums = sum_over_ranks(mine)
        mean, square = sums[:-1].view(2, -1) / sums[-1]
        variance = (square - mean.square()).clamp_min(0)
        mean, scale = mean + centre, (variance + eps).rsqrt()
        ctx.save_for_backward(x, weight, mean, scale, sums[-1])
        ctx.mark_non_differentiable(mean, variance)
        result = F.batch_norm(x, mean, variance, weight, bias, training=False, eps=eps)
        return result, mean, variance, sums[-1]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
        x, weight, mean, scale, count = ctx.saved_tensors
        exact = gradient.float()
        normalised = (x.float() - _channels(mean)) * _channels(scale)
        mine = torch.stack([exact.sum((0, 2, 3)), (exact * normalised).sum((0, 2, 3))])
        total = sum_over_ranks(mine) / count
        inner = exact - _channels(total[0]) - normalised * _channels(total[1])
        of_x = inner * _channels(weight * scale)
        return of_x.to(x.dtype), mine[1].to(weight.dtype), mine[0].to(weight.dtype), None, None


def _channels(values: Tensor) -> Tensor:
    return values.view(1, -1, 1, 1)


def share_batch_norm(model: nn.Module) -> nn.Module:
    """Replace every BatchNorm2d in `model` by one over all ranks; returns the model."""
    for name, child in model.named_children():
        if isinstance(child, nn.BatchNorm2d):
            setattr(model, name, SharedBatchNorm(child))
        else:
            share_batch_norm(child)
    return SharedBatchNorm(model) if isinstance(model, nn.BatchNorm2d) else model
