"""A moving average of the weights: what it makes of an image lags behind, and so does what is memorised."""

from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


def moving_average(model: nn.Module, decay: float) -> AveragedModel:
    """The exponential moving average of the weights and buffers of `model`, a model of its own.

    decay: share of the average that a step leaves, in [0, 1): 0.99 remembers about the last 100 steps.
    `update_parameters` takes in a step; the first one is taken as it is.
    """
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True).eval()
