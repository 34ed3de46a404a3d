"""FLOPs of a model, counted by running it once."""

import copy

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from sbp.engine.budget import ModelCost


def count_flops(model: nn.Module, channels: int, image_size: int, scale_factor: float = 1.0) -> ModelCost:
    """FLOPs per image of a forward pass, of forward and backward, and of a forward pass at scale_factor.

    Counts matrix products and convolutions of the forward pass, on a copy of the model on the CPU. The
    backward pass counts twice that: the gradients of a layer's input and of its weights cost one forward
    pass each. (Counting it instead goes wrong for depthwise convolutions, whose weight gradient torch's
    counter takes for that of a full one.)
    """
    model = copy.deepcopy(model).to("cpu").eval()
    images = 2  # GroupNorm refuses a single value per channel, which small images are pooled down to

    def forward_flops(size: int) -> float:
        with torch.inference_mode(), FlopCounterMode(display=False) as counter:
            model(torch.zeros(images, channels, size, size))
        return counter.get_total_flops() / images

    forward = forward_flops(image_size)
    scoring = forward if scale_factor == 1.0 else forward_flops(round(image_size * scale_factor))
    return ModelCost(forward, 3 * forward, scoring)
