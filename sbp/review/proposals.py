"""What an annotation would be if the suspicions against it are right: a start for whoever corrects it."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from sbp.data.convert.converter import TARGETS, write_item
from sbp.data.convert.writers import Writer
from sbp.data.convert.zones import zones_of
from sbp.data.dataset import Split
from sbp.data.disk.source import ListedSource, read_item
from sbp.data.source import Source
from sbp.review.suspects import BORDER, MISSING, SPURIOUS, WRONG_DEFECT, Suspect
from sbp.utils.files import write_atomically


def proposed(
    masks: np.ndarray, probabilities: np.ndarray, suspects: Sequence[Suspect], threshold: float = 0.5
) -> np.ndarray:
    """(H, W, D) bool: masks (H, W, D) uint8 with what is disputed as it is predicted.

    suspects: of this image, as `compare` found them with these probabilities (H, W, D) and this threshold. A
    contradiction changes nothing: where the defect lies is seen in the other photograph.
    """
    result = masks == 1
    for suspect in suspects:
        inside = np.zeros(masks.shape[:2], dtype=bool)
        left, top, width, height = suspect.box
        inside[top : top + height, left : left + width] = True
        if suspect.kind in (MISSING, WRONG_DEFECT, BORDER):
            find = touched(probabilities[:, :, suspect.defect] >= threshold, inside)
        if suspect.kind in (SPURIOUS, BORDER):
            result[:, :, suspect.defect] &= ~touched(result[:, :, suspect.defect], inside)
        if suspect.kind == WRONG_DEFECT and suspect.annotated is not None:
            result[:, :, suspect.annotated] &= ~touched(result[:, :, suspect.annotated], find)
        if suspect.kind in (MISSING, WRONG_DEFECT, BORDER):
            result[:, :, suspect.defect] |= find
    return result


def touched(mask: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """The 8-connected zones of a mask (H, W) bool of which most lies in `inside` (H, W) bool."""
    count, numbers = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    pixels = np.bincount(numbers.ravel(), minlength=count)
    shared = np.bincount(numbers.ravel(), weights=inside.ravel(), minlength=count)
    chosen = shared > pixels / 2
    chosen[0] = False
    return chosen[numbers]


class ProposalWriter:
    """Writes images with proposed annotations into a folder, in a layout that annotation tools open.

    target: one of TARGETS. Images of a set on disk keep their size and name, and their polygons where nothing
    is proposed; of other sets what the model sees is written.
    """

    def __init__(self, source: Source, train: Split, target: str, out: Path):
        self.source, self.train, self.out = source, train, out
        self.writer: Writer = TARGETS[target](out, source.defects)
        members = source.members["train"] if isinstance(source, ListedSource) else []
        self.items = {item.name: item for item in members}

    def put(self, image: int, masks: np.ndarray) -> None:
        """Training image number `image` with masks (H, W, D) bool, of the size that the model sees."""
        if isinstance(self.source, ListedSource):
            self._put_file(self.source, image, masks)
        else:
            self._put_generated(image, masks)

    def close(self) -> None:
        """Write what belongs to all images."""
        self.writer.close()

    def _put_generated(self, image: int, masks: np.ndarray) -> None:
        name = self.train.names[image]
        file = f"{name}.png"
        pixels = np.array(self.train.images[image])
        shown = pixels if pixels.shape[2] == 1 else cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
        path = self.out / self.writer.images / file
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, cv2.imencode(".png", shown)[1].tobytes(), durable=False)
        zones = {
            defect: zones_of(np.ascontiguousarray(masks[:, :, d]), (), True)
            for d, defect in enumerate(self.source.defects)
            if masks[:, :, d].any()
        }
        self.writer.put(file, zones, None, masks.shape[:2])

    def _put_file(self, source: ListedSource, image: int, masks: np.ndarray) -> None:
        item = self.items[self.train.names[image]]
        read = read_item(item, source.defects, source.reading)
        full, changed = read.masks.copy(), []
        before = np.asarray(self.train.masks[image]) == 1
        for d, defect in enumerate(source.defects):
            if (masks[:, :, d] != before[:, :, d]).any():
                full[:, :, d] = self._changed(source, full[:, :, d], before[:, :, d], masks[:, :, d])
                changed.append(defect)
        file = f"{Path(item.name).with_suffix('').as_posix()}{item.image.suffix}"
        write_item(item, full, None, source, self.writer, file, changed)

    def _changed(
        self, source: ListedSource, full: np.ndarray, before: np.ndarray, after: np.ndarray
    ) -> np.ndarray:
        """The annotation (h, w) at its own size, with what changed at the model's size, before to after."""
        change = np.stack([before & ~after, after & ~before], axis=2).astype(np.float32)
        gone, new = np.moveaxis(source.resizer.restored(change, full.shape) >= 0.5, 2, 0)
        return (full & ~touched(full, gone) & ~gone) | new
