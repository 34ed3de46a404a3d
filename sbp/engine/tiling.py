"""A model for tiles applied to whole images, of any size; and maps of whole images cut into tiles."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sbp.data.tiles import TileGrid, tile_starts


class Tiled(nn.Module):
    """Maps whole images (B, C, H, W) to logits (B, D, H, W) through a model for side x side tiles.

    Tiles overlap by at least `overlap` of their side; where they do, their logits are averaged with
    weights that fall to a tile's border, where a tile knows least of its surroundings, so that no seam
    shows. Up to `batch` tiles go through the model at a time: memory does not grow with the image beyond
    its logits. An image smaller than a tile is filled up with its border pixels.
    """

    def __init__(
        self,
        model: nn.Module,
        side: int,
        overlap: float = 0.25,
        batch: int = 8,
        memory_format: torch.memory_format = torch.contiguous_format,
    ):
        super().__init__()
        self.model, self.side, self.overlap, self.batch = model, side, overlap, batch
        self.memory_format = memory_format

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) to (B, D, H, W) float32."""
        height, width = images.shape[2:]
        below, right = max(0, self.side - height), max(0, self.side - width)
        if below or right:
            images = F.pad(images, (0, right, 0, below), mode="replicate")
        places = [
            (b, y, x)
            for b in range(len(images))
            for y in tile_starts(images.shape[2], self.side, self.overlap)
            for x in tile_starts(images.shape[3], self.side, self.overlap)
        ]
        window = self._window(images.device)
        total: Tensor | None = None
        weight = torch.zeros(images.shape[2:], device=images.device)
        for _, y, x in places[: len(places) // len(images)]:
            weight[y : y + self.side, x : x + self.side] += window
        for start in range(0, len(places), self.batch):
            chunk = places[start : start + self.batch]
            tiles = torch.stack([images[b, :, y : y + self.side, x : x + self.side] for b, y, x in chunk])
            logits = self.model(tiles.contiguous(memory_format=self.memory_format)).float()
            if total is None:
                total = logits.new_zeros(len(images), logits.shape[1], *images.shape[2:])
            for (b, y, x), part in zip(chunk, logits, strict=True):
                total[b, :, y : y + self.side, x : x + self.side] += window * part
        assert total is not None
        return (total / weight)[:, :, :height, :width]

    def _window(self, device: torch.device) -> Tensor:
        """(side, side) weights of a tile's pixels: 1 inside, falling towards the border over the overlap."""
        reach = max(1.0, self.overlap * self.side)
        place = torch.arange(self.side, device=device, dtype=torch.float32)
        edge = torch.minimum(place + 1, self.side - place)
        ramp = (edge / reach).clamp(max=1.0)
        return ramp[:, None] * ramp[None, :]


def cut_into_tiles(maps: Tensor, grid: TileGrid) -> Tensor:
    """(B, K, H, W) of whole images, at any scale of the grid's, to (B * T, K, side, side), image by image."""
    grid = grid.scaled(*maps.shape[2:])
    tiles = [maps[:, :, rows, columns] for rows, columns in map(grid.part, range(len(grid)))]
    return torch.stack(tiles, dim=1).flatten(0, 1)
