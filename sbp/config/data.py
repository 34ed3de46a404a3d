"""Schemas of the scale, of the data sets and of the defects to focus on."""

from dataclasses import dataclass

from omegaconf import MISSING

from sbp.config.checks import at_least, fraction, one_of, require


@dataclass
class ScaleConfig:
    """How large an experiment is: side of the images in pixels and compute in baseline epochs, for
    synthetic images and for real ones (photo_)."""

    name: str = MISSING
    image_size: int = MISSING
    photo_size: int = MISSING
    train_images: int = MISSING
    val_images: int = MISSING
    test_images: int = MISSING
    batch_size: int = MISSING
    compute: float = MISSING
    photo_compute: float = MISSING

    def __post_init__(self) -> None:
        at_least(8, scale__image_size=self.image_size, scale__photo_size=self.photo_size)
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
        require(len(self.defects) > 0, "data.defects", self.defects, "at least one defect")
        for key, chosen in (("data.common", self.common), ("data.rare", self.rare)):
            for name in chosen:
                one_of(key, name, self.defects)


@dataclass
class InspectionData(DataConfig):
    """The embedded synthetic set; see sbp.data.inspection."""

    train_images: int = MISSING
    val_images: int = MISSING
    test_images: int = MISSING
    common_share: float = 0.10
    rare_share: float = 0.015
    eval_common_share: float = 0.30
    eval_rare_share: float = 0.20
    lookalike_share: float = 0.015
    eval_lookalike_share: float = 0.15
    missing_annotations: float = 0.05

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.defects == ["scratch", "broken"], "data.defects", self.defects, "[scratch, broken]")
        require(32 <= self.image_size <= 512, "data.image_size", self.image_size, "between 32 and 512")
        require(self.channels == 1, "data.channels", self.channels, "1 (the panels are grey)")
        at_least(
            8,
            data__train_images=self.train_images,
            data__val_images=self.val_images,
            data__test_images=self.test_images,
        )
        shares = {name: getattr(self, name) for name in vars(self) if name.endswith("share")}
        fraction(**{f"data__{name}": value for name, value in shares.items()})
        fraction(data__missing_annotations=self.missing_annotations)


@dataclass
class MagneticTileData(DataConfig):
    """The public Magnetic Tile set in its published layout; see sbp.data.magnetic_tile."""

    root: str | None = None
    fit: str = "resize"
    val_fraction: float = 0.2
    test_fraction: float = 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("data.fit", self.fit, ("resize", "pad"))
        fraction(data__val_fraction=self.val_fraction, data__test_fraction=self.test_fraction)
        require(self.channels == 1, "data.channels", self.channels, "1 (the tiles are grey)")


@dataclass
class DefectsConfig:
    """Which defects the selection focuses on; the model always predicts all of the data set's."""

    focus: list[str] = MISSING
