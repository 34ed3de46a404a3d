"""An optimizer: torch's RMSprop."""

from collections.abc import Iterable

import torch
from torch import nn

from sbp.engine.optimizers import OPTIMIZERS, Optimizer
from sbp.plugins.checks import above, fraction


@OPTIMIZERS.register("rmsprop")
class RmsProp(Optimizer):
    """RMSprop. lr: peak learning rate, above 0; alpha: smoothing in [0, 1]."""

    def __init__(self, lr: float = 0.001, alpha: float = 0.99):
        above(0, lr=lr)
        fraction(alpha=alpha)
        self.lr, self.alpha = lr, alpha

    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.RMSprop(parameters, self.lr, alpha=self.alpha)
