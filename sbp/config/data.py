"""Schemas of the scale, of the data sets and of the defects to focus on."""

import re
from dataclasses import dataclass

from omegaconf import MISSING

from sbp.errors import UserError
from sbp.plugins.checks import at_least, fraction, one_of, require

TAKEN = ("healthy", "several")
"""What metrics call images without a defect, and with more than one."""
_NAME = re.compile(r"\w([\w .-]*\w)?")


@dataclass
class ScaleConfig:
    """How large an experiment is: side of the images in pixels and compute in baseline epochs, for
    synthetic images and for real ones (real_)."""

    name: str = MISSING
    image_size: int = MISSING
    real_image_size: int = MISSING
    train_images: int = MISSING
    val_images: int = MISSING
    test_images: int = MISSING
    batch_size: int = MISSING
    compute: float = MISSING
    real_compute: float = MISSING

    def __post_init__(self) -> None:
        at_least(8, scale__image_size=self.image_size, scale__real_image_size=self.real_image_size)
        at_least(1, scale__batch_size=self.batch_size)


@dataclass
class DataConfig:
    """What every data set says: its defects, which of them are common and which rare, the model's image
    size, and the compute in baseline epochs that training on it is given."""

    name: str = MISSING
    image_size: int = MISSING
    compute: float = MISSING
    channels: int = 1
    seed: int = 0
    defects: list[str] = MISSING
    common: list[str] = MISSING
    rare: list[str] = MISSING

    def __post_init__(self) -> None:
        at_least(8, data__image_size=self.image_size)
        at_least(0, data__seed=self.seed)
        if not self.defects:
            raise UserError(
                "data.defects is empty: must name at least one defect, as in data.defects=[scratch,dent]"
            )
        for defect in self.defects:
            plain = bool(_NAME.fullmatch(defect)) and defect not in TAKEN
            rule = (
                "a name of letters, digits, spaces and _ - . (metrics are called that), other than "
                f"{' and '.join(TAKEN)}"
            )
            require(plain, "data.defects", defect, rule)
            require(self.defects.count(defect) == 1, "data.defects", defect, "there once")
        for key, chosen in (("data.common", self.common), ("data.rare", self.rare)):
            for name in chosen:
                one_of(key, name, self.defects)


@dataclass
class DiskData(DataConfig):
    """Images on disk. fit, white_level: see sbp.data.disk.source.Reading; with fit=tile, image_size is the
    side of a tile, and tile_overlap the share of it that neighbours have in common when a whole image is
    scored or evaluated; split_by: group, or image, which leaks where images are related; split_file: where
    the split is kept, None: in the output folder; on_bad: stop at a file that cannot be trusted, or skip its
    image and say so; cache: decode once to disk, stream from the files, or auto, which streams where the
    disk has no room."""

    root: str | None = None
    fit: str = "resize"
    val_fraction: float = 0.2
    test_fraction: float = 0.2
    split_by: str = "group"
    split_file: str | None = None
    white_level: int | None = None
    on_bad: str = "stop"
    tile_overlap: float = 0.25
    cache: str = "auto"

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("data.fit", self.fit, ("resize", "pad", "tile"))
        one_of("data.split_by", self.split_by, ("group", "image"))
        one_of("data.cache", self.cache, ("auto", "disk", "stream"))
        overlap = self.tile_overlap
        require(0 <= overlap <= 0.75, "data.tile_overlap", overlap, "between 0 and 0.75")
        one_of("data.on_bad", self.on_bad, ("stop", "skip"))
        require(self.channels in (1, 3), "data.channels", self.channels, "1 (grey) or 3 (colour)")
        fraction(data__val_fraction=self.val_fraction, data__test_fraction=self.test_fraction)
        at_least(1, data__white_level=self.white_level)


@dataclass
class DefectsConfig:
    """Which defects the selection focuses on; the model always predicts all of the data set's."""

    focus: list[str] = MISSING
