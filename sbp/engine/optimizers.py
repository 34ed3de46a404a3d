"""Optimizers: what the config says, and torch's optimizer made from it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import TYPE_CHECKING

from sbp.plugins.checks import above, at_least, fraction
from sbp.plugins.registry import Registry

if TYPE_CHECKING:
    import torch
    from torch import nn


class Optimizer(ABC):
    """Makes torch's optimizer when the model is there. Its learning rate is the peak of the schedule."""

    name: str

    @abstractmethod
    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """The optimizer of these parameters."""


OPTIMIZERS: Registry[Optimizer] = Registry("optimizer")


@OPTIMIZERS.register("adamw")
class AdamW(Optimizer):
    """Adam with decoupled weight decay (arXiv:1711.05101). lr: peak learning rate, above 0."""

    def __init__(self, lr: float, weight_decay: float = 0.0):
        above(0, lr=lr)
        at_least(0, weight_decay=weight_decay)
        self.lr, self.weight_decay = lr, weight_decay

    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        from torch.optim import AdamW as TorchAdamW

        return TorchAdamW(parameters, self.lr, weight_decay=self.weight_decay)


@OPTIMIZERS.register("sgd")
class Sgd(Optimizer):
    """Stochastic gradient descent. lr: peak learning rate, above 0; momentum in [0, 1]."""

    def __init__(self, lr: float, weight_decay: float = 0.0, momentum: float = 0.9, nesterov: bool = True):
        above(0, lr=lr)
        at_least(0, weight_decay=weight_decay)
        fraction(momentum=momentum)
        self.lr, self.weight_decay = lr, weight_decay
        self.momentum, self.nesterov = momentum, nesterov and momentum > 0

    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        from torch.optim import SGD

        return SGD(
            parameters,
            self.lr,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            nesterov=self.nesterov,
        )
