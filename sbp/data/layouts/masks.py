"""Own images: a folder of images and masks of the same names."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sbp.data.disk.annotations import Annotation, ColourMask, MaskFile
from sbp.data.disk.decode import read_colours, read_mask
from sbp.data.disk.listing import Item
from sbp.data.disk.mask_files import colour_text
from sbp.data.layouts.base import LAYOUTS, THRESHOLD, OwnImages, check_threshold
from sbp.data.layouts.files import by_key, expect_chosen, expect_some, images_below, subfolders
from sbp.errors import UserError
from sbp.plugins.checks import require

Annotations = dict[str, dict[str, tuple[Annotation, ...]]]
"""By what the image is called, then by defect."""
Void = dict[str, tuple[Annotation, ...]]
"""By what the image is called."""
SUFFIXES = ("_mask", "-mask", "_label", "_gt")
"""What data=auto knows that a mask's name may have more than its image's."""
LOOKED_AT = 20
"""Masks that data=auto reads, to tell what their values may mean."""


@LAYOUTS.register("masks")
@dataclass(frozen=True)
class Masks(OwnImages):
    """images, masks: folders below the root, whose own folders are the same. suffix: what a mask's name has
    more than its image's (NAME_mask.png). With a folder per defect below masks/, pixels above `threshold` are
    annotated; with `values`, masks/ holds one file per image, whose value (or palette index) says which
    defect a pixel shows, 0 none; with `colours`, whose colour does ('#ff0000'), black none. void: the value,
    or the colour, of pixels that do not count. ignore: defects that are annotated but not learnt; images that
    have a mask of theirs are left out. group, group_size: see group_of."""

    images: str = "images"
    masks: str = "masks"
    suffix: str = ""
    values: dict[str, int] = field(default_factory=dict)
    colours: dict[str, str] = field(default_factory=dict)
    void: str | int | None = None
    threshold: int = THRESHOLD
    expected = (
        "expected are images/NAME.png, and for each defect masks/DEFECT/NAME.png, or one masks/NAME.png with "
        "a value or a colour per defect, data.values={DEFECT: VALUE} or data.colours={DEFECT: '#ff0000'}; an "
        "image without a mask is healthy"
    )
    folders = ("{images}", "{masks}")

    def __post_init__(self) -> None:
        check_threshold(self.threshold)
        super().__post_init__()
        require(not (self.values and self.colours), "colours", dict(self.colours), "empty beside data.values")
        for name, colour in self.colours.items():
            require(_is_colour(colour), f"colours.{name}", colour, "a colour as '#ff0000'")
        if self.void is not None:
            fits = _is_colour(self.void) if self.colours else str(self.void).isdecimal()
            allowed = "a colour as '#ff0000'" if self.colours else "a grey value or palette index, as 255"
            require(fits, "void", self.void, allowed)

    def defects_in(self, root: Path) -> list[str]:
        named = [*self.values, *self.colours] or subfolders(root / self.masks)
        return [name for name in named if name not in self.ignore]

    @classmethod
    def recognised(cls, root: Path) -> "Masks | None":
        if not ((root / "images").is_dir() and (root / "masks").is_dir()):
            return None
        own = [name for name in subfolders(root / "masks") if name not in subfolders(root / "images")]
        masks = images_below(root / "masks")
        suffix = next((s for s in SUFFIXES if masks and all(path.stem.endswith(s) for path in masks)), "")
        if own or not masks:
            return cls(suffix=suffix)
        return cls(suffix=suffix, values=_only_value(masks[:: max(1, len(masks) // LOOKED_AT)]))

    def items(self, root: Path, defects: Sequence[str]) -> Sequence[Item]:
        folder = root / self.images
        images = by_key(folder, images_below(folder))
        expect_some(list(images), folder, self.expected)
        left_out: set[str] = set()
        if self.values or self.colours:
            held, void = self._by_value(root / self.masks, images, defects)
        else:
            held, void, left_out = self._by_folder(root / self.masks, images, defects)
        return [
            Item(
                key,
                image,
                held.get(key, {}),
                self.group_of(key),
                void=void.get(key, ()),
            )
            for key, image in images.items()
            if key not in left_out
        ]

    def _by_folder(self, folder: Path, images, defects: Sequence[str]) -> tuple[Annotations, Void, set[str]]:
        """The annotations of each image, what is void in it, and the images that are left out."""
        there, ignore = subfolders(folder), self.ignore
        for name in [*defects, *ignore]:
            if name not in there:
                holds = ", ".join(there) or "no folder"
                raise UserError(f"data.defects={name}: {folder} has no folder of that name, it holds {holds}")
        for name in there:
            expect_chosen(name, defects, ignore, f"{folder / name}:")
        value = None if self.void is None else int(self.void)
        held: Annotations = {}
        void: Void = {}
        for defect in defects:
            for key, path in self._masks_in(folder / defect, images).items():
                held.setdefault(key, {})[defect] = (MaskFile(path, threshold=self.threshold, void=value),)
                if value is not None:
                    void[key] = (*void.get(key, ()), MaskFile(path, value))
        return held, void, {key for name in ignore for key in self._masks_in(folder / name, images)}

    def _by_value(self, folder: Path, images, defects: Sequence[str]) -> tuple[Annotations, Void]:
        """The annotations of each image, and what is void in it."""
        values, group = (self.values, "values") if self.values else (self.colours, "colours")
        if set(values) != set(defects):
            raise UserError(f"data.{group}={dict(values)}: must name each of data.defects={[*defects]}")
        numbers = [_number(value) for value in values.values()]
        for name, number in zip(values, numbers, strict=True):
            if number < 1 or numbers.count(number) > 1:
                raise UserError(
                    f"data.{group}: {name}={values[name]}: must be above 0 and of one defect only"
                )
        masks = self._masks_in(folder, images).items()
        of = self._of_colour if self.colours else self._of_value
        held: Annotations = {}
        void: Void = {}
        for key, path in masks:
            held[key] = {defect: (of(path, _number(values[defect])),) for defect in defects}
            if self.void is not None:
                void[key] = (of(path, _number(self.void)),)
        return held, void

    def _of_value(self, path: Path, value: int) -> MaskFile:
        known = tuple(sorted(self.values.values()))
        return MaskFile(path, value, known=known, void=None if self.void is None else int(self.void))

    def _of_colour(self, path: Path, colour: int) -> ColourMask:
        void = [] if self.void is None else [_number(self.void)]
        return ColourMask(path, colour, (0, *map(_number, self.colours.values()), *void))

    def _masks_in(self, folder: Path, images: Mapping[str, Path]) -> dict[str, Path]:
        masks = by_key(folder, images_below(folder))
        found = {}
        for key, path in masks.items():
            name = key.removesuffix(self.suffix)
            if name not in images or (self.suffix and name == key):
                ending = (
                    f"the name of its image and {self.suffix}" if self.suffix else "the stem of its image"
                )
                suffix = self.suffix or _suffix_of(key, images)
                hint = f"; data.suffix={suffix}?" if suffix and not self.suffix else ""
                raise UserError(f"{path}: there is no image of that name; a mask has {ending}{hint}")
            found[name] = path
        return found


def _suffix_of(key: str, images: Mapping[str, Path]) -> str:
    """What a mask's name has more than that of an image, the longest one; empty if there is none."""
    stems = [name for name in images if key.startswith(name)]
    return key.removeprefix(max(stems, key=len)) if stems else ""


def _is_colour(value: object) -> bool:
    return re.fullmatch(r"#?[0-9a-fA-F]{6}", str(value)) is not None


def _number(value: str | int) -> int:
    """A grey value, or a colour as 0xRRGGBB."""
    text = str(value)
    return int(text, 10) if text.isdecimal() and len(text) < 6 else int(text.removeprefix("#"), 16)


def _only_value(masks: Sequence[Path]) -> dict[str, int]:
    """The value of the only defect that one-per-image masks show. Raises UserError, naming what is there, if
    they show several, or colours."""
    values: set[int] = set()
    for path in masks:
        try:
            values |= set(map(int, set(read_mask(path).ravel().tolist())))
        except UserError:
            colours = sorted(set(read_colours(path).ravel().tolist()) - {0})
            there = ", ".join(map(colour_text, colours[:6]))
            raise UserError(
                f"{path}: is a colour mask ({there}): say what its colours mean, data=masks "
                f"data.colours='{{DEFECT: {colour_text(colours[0])!r}}}'"
            ) from None
    values.discard(0)
    if len(values) == 1:
        return {"defect": values.pop()}
    there = ", ".join(map(str, sorted(values)[:6])) or "0 alone"
    raise UserError(
        f"{masks[0].parent}: masks hold the values {there}: say what they mean, data=masks "
        "data.values='{DEFECT: 1}'"
    )
