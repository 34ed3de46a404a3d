"""FLOPs of a model, counted by running it once."""

import copy

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from sbp.engine.budget import ModelCost


def count_flops(model: nn.Module, channels: int, image_size: int, scale_factor: float = 1.0) -> ModelCost:
    """FLOPs per image of a forward pass, of forward and backward, and of a forward pass at scale_factor.

    Counts matrix products and convolutions, on a copy of the model on the CPU, so that neither its
    BatchNorm statistics nor its gradients change.
    """
    model = copy.deepcopy(model).to("cpu").train()
    images = 2  # BatchNorm in train mode needs more than one value per channel

    def run(size: int, backward: bool) -> float:
        with torch.random.fork_rng(devices=[]), FlopCounterMode(display=False) as counter:
            output = model(torch.zeros(images, channels, size, size))
            if backward:
                output.sum().backward()
        return counter.get_total_flops() / images

    forward = run(image_size, backward=False)
    scoring = forward if scale_factor == 1.0 else run(round(image_size * scale_factor), backward=False)
    return ModelCost(forward, run(image_size, backward=True), scoring)
