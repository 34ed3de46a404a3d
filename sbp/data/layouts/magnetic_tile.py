"""The public Magnetic Tile defect set in its published layout, and which images show the same tile."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sbp.data.disk.annotations import MaskFile
from sbp.data.disk.listing import Item
from sbp.data.layouts.base import LAYOUTS, THRESHOLD, Layout, check_threshold
from sbp.data.layouts.files import by_stem, expect_defects, expect_some, images_in
from sbp.errors import UserError

DEFECTS = ("blowhole", "crack", "break", "fray", "uneven")
HEALTHY = "free"
FOLDERS = {kind: f"MT_{kind.capitalize()}" for kind in (*DEFECTS, HEALTHY)}

# Ids within this distance may belong to tiles that were photographed in turns, see tile_groups.
INTERLEAVED_GAP = 200

# Tiles that came back later, as ranges of ids: each line is one tile, found by its texture (tile_groups).
RETAKES = (
    ((5874, 5959), (13526, 13689)),
    ((8676, 9196), (10334, 10790)),
    ((37056, 37098), (37262, 37675)),
    ((53011, 53080), (65001, 65067)),
    ((85602, 86064), (86828, 88201)),
    ((306425, 306496), (309648, 309719)),
    ((306586, 306696), (309352, 309443)),
    ((337646, 337757), (349824, 349930)),
    ((355636, 355732), (358102, 358179)),
)

_STEM = re.compile(r"exp(\d+)_num_(\d+)")


def tile_groups(
    stems: Sequence[str], gap: int = INTERLEAVED_GAP, retakes: Sequence[Sequence[tuple[int, int]]] = RETAKES
) -> list[int]:
    """Number the physical tile of each image, from the stems `exp{k}_num_{id}` of the whole set.

    stems: (N,) in any order, from all folders together: a tile's photographs may lie in several.
    gap: ids closer than this are never told apart. retakes: one entry per tile, its ranges of ids, ends
    included. Returns (N,) numbers from 0 in the order of ids. Raises UserError for a stem of another form.

    Rule: ids run through the whole set in the order of photographing, and a tile was photographed once
    for each of exp 1 to 6 (three tiles also for exp 0). Going through the ids, a new group starts where
    an exp comes again and the id is at least `gap` above the one before. Below the gap nothing is told
    apart, since up to three tiles were photographed in turns there. Two tiles in one group do no harm;
    one tile in two groups would leak test images into training.

    Evidence, measured on the 1,344 published images: two images are compared at half size, high-passed,
    with the grinding lines along columns and rows removed, by the best normalised cross-correlation of
    the central part of one within the other. Photographs of one tile reach 0.80 in the median (98 % of
    them more than 0.4), those of different tiles stay below 0.24. By links above 0.25 there are 216
    tiles, most with exactly six images; gaps within one tile go up to 520. Starting a group at every
    repeated exp (gap 0) would tear 1,477 of 3,563 links between neighbours apart, gap 100 still 222, gap
    200 only the 195 to photographs taken again. It makes 192 groups, of which nine pairs remain linked by
    0.33 to 0.98: tiles that were photographed again up to 13,000 ids later, two of them turned by 180
    degrees. `retakes` joins them. That leaves 183 groups of at most 26 images and not one linked pair
    across groups, among 259,000 pairs of images upright and 224,000 turned, covering all pairs of groups.
    """
    numbers = [_numbers(stem) for stem in stems]
    ordered = sorted(range(len(stems)), key=lambda i: numbers[i][::-1])
    groups = [0] * len(stems)
    group, seen, last = 0, set[int](), 0
    for i in ordered:
        exposure, number = numbers[i]
        if exposure in seen and number - last >= gap:
            group, seen = group + 1, set()
        groups[i], last = group, number
        seen.add(exposure)
    for ranges in retakes:
        shown = [any(a <= number <= b for a, b in ranges) for _, number in numbers]
        joined = {group for group, there in zip(groups, shown, strict=True) if there}
        groups = [min(joined) if group in joined else group for group in groups]
    rank = {group: k for k, group in enumerate(sorted(set(groups)))}
    return [rank[group] for group in groups]


def _numbers(stem: str) -> tuple[int, int]:
    match = _STEM.fullmatch(stem)
    if match is None:
        raise UserError(f"{stem}.jpg: the name of an image must have the form exp1_num_123.jpg")
    return int(match[1]), int(match[2])


@LAYOUTS.register("magnetic_tile")
@dataclass(frozen=True)
class MagneticTile(Layout):
    """The Magnetic Tile set, its images grouped by tile. Source: Huang, Qiu, Guo, Wang, Yuan, "Surface
    defect saliency of magnetic tile", CASE 2018.

    threshold: grey value above which a pixel of a mask is annotated (the published masks are not strictly
    binary). Four images of the folder MT_Uneven are published with an empty mask and two with one of 1 and 3
    pixels; they are kept as they are.
    """

    threshold: int = THRESHOLD

    expected = (
        f"expected are the folders {', '.join(FOLDERS.values())}, each with Imgs/exp1_num_123.jpg and a .png "
        "mask of the same stem; the 'Magnetic tile defect datasets' of Huang et al. 2018, GitHub "
        "abin24/Magnetic-tile-defect-datasets., holds them"
    )
    folders = tuple(f"{folder}/Imgs" for folder in FOLDERS.values())

    def __post_init__(self) -> None:
        check_threshold(self.threshold)

    def defects_in(self, root: Path) -> Sequence[str]:
        return DEFECTS

    @classmethod
    def recognised(cls, root: Path) -> "MagneticTile | None":
        return cls() if all((root / folder).is_dir() for folder in FOLDERS.values()) else None

    def items(self, root: Path, defects: Sequence[str]) -> Sequence[Item]:
        expect_defects(defects, DEFECTS)
        pairs = [(kind, *pair) for kind in FOLDERS for pair in self._pairs(root / FOLDERS[kind] / "Imgs")]
        # Groups come from all images, so that leaving defects out does not change what counts as one tile.
        groups = tile_groups([image.stem for _, image, _ in pairs])
        items = []
        for (kind, image, mask), group in zip(pairs, groups, strict=True):
            healthy = kind == HEALTHY
            if healthy or kind in defects:
                # the mask of a healthy image is read as well: it must be empty
                annotation = MaskFile(mask, None, self.threshold, soft=True, healthy=healthy)
                held = {defects[0] if healthy else kind: (annotation,)}
                labels = () if healthy else (kind,)
                name = f"{FOLDERS[kind]}/{image.stem}"
                items.append(Item(name, image, held, f"tile {group}", None, labels))
        return items

    def _pairs(self, folder: Path) -> list[tuple[Path, Path]]:
        """The images of one folder in the order of their ids, each with its mask."""
        masks = by_stem(images_in(folder, (".png",)))
        images = sorted(images_in(folder, (".jpg",)), key=lambda path: _numbers(path.stem)[::-1])
        expect_some(images, folder, self.expected)
        for image in images:
            if image.stem not in masks:
                raise UserError(f"{image}: has no mask, {image.stem}.png is expected beside it")
        return [(image, masks[image.stem]) for image in images]
