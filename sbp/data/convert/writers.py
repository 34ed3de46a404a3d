"""The layouts that can be written: masks, COCO and labelme."""

import base64
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np

from sbp.data.convert.zones import Zones
from sbp.data.disk.annotations import Polygons
from sbp.data.disk.claims import extent_of
from sbp.errors import UserError
from sbp.utils.files import write_atomically

VOID_VALUE = 128
"""What masks have where nobody says what the image shows; data.void=128 reads it."""


class Writer(ABC):
    """Writes one layout below `root`. images: the folder of the images; drawn_as_shown: as Layout has it;
    keys: what reading needs beside data.root, as words of a command line."""

    images: ClassVar[str] = "images"
    drawn_as_shown: ClassVar[bool] = True

    def __init__(self, root: Path, defects: Sequence[str]):
        self.root, self.defects = root, defects
        self.keys: list[str] = []

    def name(self, file: str) -> str:
        """How the layout calls the image `file`, relative to the folder of images."""
        return Path(file).with_suffix("").as_posix()

    @abstractmethod
    def put(self, file: str, zones: Mapping[str, Zones], void: np.ndarray | None, shape) -> None:
        """Write what is annotated in one image: zones by defect, void (H, W) bool."""

    def close(self) -> None:  # noqa: B027
        """Write what belongs to all images."""

    def _expect_known(self, file: str, void: np.ndarray | None) -> None:
        if void is not None and void.any():
            raise UserError(f"{file}: has pixels that do not count (data.void), which only masks can hold")


class MasksWriter(Writer):
    """images/ and masks/DEFECT/, white where the defect is."""

    drawn_as_shown = False

    def put(self, file: str, zones: Mapping[str, Zones], void: np.ndarray | None, shape) -> None:
        for defect, zone in zones.items():
            pixels = zone.mask.astype(np.uint8) * 255
            if void is not None and void.any():
                pixels[void & ~zone.mask] = VOID_VALUE
                self.keys = [f"data.void={VOID_VALUE}"]
            _write(self.root / "masks" / defect / f"{self.name(file)}.png", _png(pixels))

    def close(self) -> None:
        for defect in self.defects:
            (self.root / "masks" / defect).mkdir(parents=True, exist_ok=True)


class CocoWriter(Writer):
    """images/ and annotations.json: polygons where they draw the same mask again, else run lengths."""

    def __init__(self, root: Path, defects: Sequence[str]):
        super().__init__(root, defects)
        self.entries: dict[str, list[dict[str, Any]]] = {"images": [], "annotations": []}

    def name(self, file: str) -> str:
        return file

    def put(self, file: str, zones: Mapping[str, Zones], void: np.ndarray | None, shape) -> None:
        self._expect_known(file, void)
        number = len(self.entries["images"]) + 1
        size = {"height": shape[0], "width": shape[1]}
        self.entries["images"].append({"id": number, "file_name": file, **size})
        for defect, zone in zones.items():
            for segmentation, mask in _segmentations(zone):
                self.entries["annotations"].append(
                    {
                        "id": len(self.entries["annotations"]) + 1,
                        "image_id": number,
                        "category_id": self.defects.index(defect) + 1,
                        "segmentation": segmentation,
                        "area": int(mask.sum()),
                        "bbox": list(extent_of(mask) or (0, 0, 0, 0)),
                        "iscrowd": int(isinstance(segmentation, dict)),
                    }
                )

    def close(self) -> None:
        categories = [{"id": k, "name": name} for k, name in enumerate(self.defects, 1)]
        text = json.dumps(self.entries | {"categories": categories})
        _write(self.root / "annotations.json", text.encode())


def _segmentations(zone: Zones):
    """COCO's segmentation of each object, with its mask."""
    if zone.objects is None:
        yield {"size": list(zone.mask.shape), "counts": _counts(zone.mask)}, zone.mask
        return
    for outlines in zone.objects:
        flat = [points.ravel().tolist() for points in outlines]
        mask = Polygons(tuple(map(tuple, flat)), "").mask((zone.mask.shape[0], zone.mask.shape[1]))
        yield flat, mask


def _counts(mask: np.ndarray) -> list[int]:
    """Run lengths without and with the defect in turns, along columns."""
    flat = mask.ravel(order="F")
    changes = np.flatnonzero(np.diff(flat.astype(np.int8))) + 1
    runs = np.diff([0, *changes, len(flat)]).tolist()
    return [0, *runs] if flat[0] else runs


class LabelmeWriter(Writer):
    """Images and a JSON file beside each: polygons where they draw the same mask again, else masks."""

    images = "."

    def put(self, file: str, zones: Mapping[str, Zones], void: np.ndarray | None, shape) -> None:
        self._expect_known(file, void)
        shapes = [shape for defect, zone in zones.items() for shape in _shapes(defect, zone)]
        content = {
            "version": "5.5.0",
            "flags": {},
            "shapes": shapes,
            "imagePath": Path(file).name,
            "imageData": None,
            "imageHeight": shape[0],
            "imageWidth": shape[1],
        }
        _write(self.root / Path(file).with_suffix(".json"), json.dumps(content, indent=1).encode())


def _shapes(defect: str, zone: Zones):
    common: dict[str, Any] = {"label": defect, "group_id": None, "flags": {}}
    if zone.objects is not None:
        for points in (points for outlines in zone.objects for points in outlines):
            yield common | {"shape_type": "polygon", "points": points.tolist()}
        return
    extent = extent_of(zone.mask)
    if extent is not None:
        left, top, width, height = map(int, extent)
        part = zone.mask[top : top + height, left : left + width].astype(np.uint8) * 255
        corners = [[left, top], [left + width - 1, top + height - 1]]
        image = base64.b64encode(_png(part)).decode()
        yield common | {"shape_type": "mask", "points": corners, "mask": image}


def _png(pixels: np.ndarray) -> bytes:
    return cv2.imencode(".png", pixels)[1].tobytes()


def _write(path: Path, content: bytes) -> None:
    os.makedirs(path.parent, exist_ok=True)
    write_atomically(path, content, durable=False)
