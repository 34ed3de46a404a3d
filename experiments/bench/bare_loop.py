"""The yardstick: a plain PyTorch loop over the same tensors, model and augmentation."""

import numpy as np
import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from sbp.data.augmentation import Augmentation
from sbp.data.dataset import Split


class Images(Dataset):
    """Augmented images and masks of a split."""

    def __init__(self, split: Split, augmentation: Augmentation):
        self.split, self.augmentation = split, augmentation

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, i: int):
        image, mask = self.augmentation(self.split.images[i], self.split.masks[i], 0, i)
        return torch.from_numpy(np.array(image)), torch.from_numpy(np.array(mask))


def bare_epoch(model, optimizer, loader: DataLoader, mean: float, std: float) -> None:
    """Train one epoch."""
    model.train()
    for images, masks in loader:
        x = (images.permute(0, 3, 1, 2).float() / 255.0 - mean) / std
        target = masks.permute(0, 3, 1, 2).float()
        logits = model(x.contiguous(memory_format=torch.channels_last))
        loss = F.binary_cross_entropy_with_logits(logits, target)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
