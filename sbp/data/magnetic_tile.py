"""The public Magnetic Tile defect set, read from its published layout and split by tile."""

import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from sbp.data.source import SPLITS, Sample
from sbp.data.splits import split_by_group
from sbp.errors import UserError

# Raise this when the same files would give other samples or other splits.
LOADER_VERSION = 1

DEFECTS = ("blowhole", "crack", "break", "fray", "uneven")
HEALTHY = "free"
FOLDERS = {kind: f"MT_{kind.capitalize()}" for kind in (*DEFECTS, HEALTHY)}
FITS = ("resize", "pad")
ORIGIN = (
    "the 'Magnetic tile defect datasets' of Huang et al. 2018, GitHub "
    "abin24/Magnetic-tile-defect-datasets., holds them"
)
EXPECTED = (
    f"expected are the folders {', '.join(FOLDERS.values())}, each with Imgs/exp1_num_123.jpg and a .png "
    "mask of the same stem"
)

# Share of a pixel that a defect must cover to mark it after shrinking. Measured on the set: at 0.5 a crack
# loses 23 % of its area at 128 pixels and falls into pieces, and 5 of 57 cracks vanish at 64 pixels;
# max-pooling keeps everything but makes cracks 1.9 times (128 pixels) to 2.4 times (64 pixels) as large.
# At 0.25, what a line of half a pixel covers when it straddles two, cracks stay in one piece (0.04 more
# pieces per image on average) and become 1.3 times as large at 128 pixels.
MIN_COVERAGE = 0.25

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
# A file that was cut off may still decode, with grey where data is missing; it then lacks its end mark.
_END_MARKS = {".jpg": b"\xff\xd9", ".png": b"IEND\xaeB`\x82"}


def tile_groups(
    stems: Sequence[str],
    gap: int = INTERLEAVED_GAP,
    retakes: Sequence[Sequence[tuple[int, int]]] = RETAKES,
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
        groups = _joined(groups, [any(a <= number <= b for a, b in ranges) for _, number in numbers])
    rank = {group: k for k, group in enumerate(sorted(set(groups)))}
    return [rank[group] for group in groups]


def _numbers(stem: str) -> tuple[int, int]:
    match = _STEM.fullmatch(stem)
    if match is None:
        raise UserError(f"{stem}.jpg: the name of an image must have the form exp1_num_123.jpg")
    return int(match[1]), int(match[2])


def _joined(groups: list[int], together: list[bool]) -> list[int]:
    """The groups of all marked images made one."""
    members = {group for group, marked in zip(groups, together, strict=True) if marked}
    return [min(members) if group in members else group for group in groups]


@dataclass(frozen=True)
class _Photo:
    """One image of the set before it is read. kind: a defect or `free`. files: (name, bytes, mtime_ns)."""

    kind: str
    stem: str
    files: tuple[tuple[str, int, int], tuple[str, int, int]]

    @property
    def name(self) -> str:
        return f"{FOLDERS[self.kind]}/{self.stem}"


class MagneticTileSource:
    """The Magnetic Tile set as a Source: grey square images, one mask per defect, split by tile.

    root: the folder that holds MT_Blowhole, MT_Break, MT_Crack, MT_Fray, MT_Free and MT_Uneven.
    image_size: side S of the images in pixels. fit: `resize` stretches an image to the square; `pad`
    keeps its shape and fills up with its repeated border pixels, where no defect is marked. defects:
    which defects to learn, any of DEFECTS; the images of the others are left out, since they show a
    defect that would not be marked. seed: of the split. val_fraction, test_fraction: shares of the
    images, above 0 and below 1 together. threshold: grey value above which a mask marks a defect, 0 to
    254 (the published masks are not strictly binary).

    Samples hold images (S, S, 1) uint8 and masks (S, S, D) uint8 in {0, 1}. A defect that is marked never
    vanishes in resizing. Four images of the folder MT_Uneven are published with an empty mask and two
    with one of 1 and 3 pixels; they are kept as they are.

    Raises UserError, without reading pixels, for a value out of range, a missing folder, an image
    without mask, or too few tiles for three splits. Source: Huang, Qiu, Guo, Wang, Yuan, "Surface defect
    saliency of magnetic tile", CASE 2018.
    """

    name = "magnetic_tile"

    def __init__(
        self,
        *,
        root: str | None,
        image_size: int,
        fit: str = "resize",
        defects: Sequence[str] = DEFECTS,
        seed: int = 0,
        val_fraction: float = 0.2,
        test_fraction: float = 0.2,
        threshold: int = 127,
    ):
        self.defects = tuple(defects)
        self.image_size, self.fit, self.seed, self.threshold = image_size, fit, seed, threshold
        self.fractions = {
            "train": 1 - val_fraction - test_fraction,
            "val": val_fraction,
            "test": test_fraction,
        }
        self._check_arguments()
        self.root = _checked_root(root)
        self._photos = [photo for kind in FOLDERS for photo in _list_photos(self.root, kind)]
        self._splits = self._split()

    def _check_arguments(self) -> None:
        for defect, times in Counter(self.defects).items():
            if defect not in DEFECTS or times > 1:
                raise UserError(f"data.defects={defect}: must be any of {', '.join(DEFECTS)}, each once")
        if not self.defects:
            raise UserError(f"data.defects is empty: must be any of {', '.join(DEFECTS)}")
        if self.fit not in FITS:
            raise UserError(f"data.fit={self.fit}: must be one of {', '.join(FITS)}")
        if self.image_size < 1:
            raise UserError(f"data.image_size={self.image_size}: must be at least 1")
        if not 0 <= self.threshold <= 254:
            raise UserError(f"data.threshold={self.threshold}: must be 0 to 254")
        if min(self.fractions.values()) <= 0:
            raise UserError(
                f"data.val_fraction={self.fractions['val']} data.test_fraction={self.fractions['test']}: "
                "each must be above 0, both together below 1"
            )

    def _split(self) -> dict[str, list[_Photo]]:
        # Groups come from all images, so that leaving defects out does not change what counts as one tile.
        groups = tile_groups([photo.stem for photo in self._photos])
        kept = [(p, g) for p, g in zip(self._photos, groups, strict=True) if self._is_kept(p)]
        labels = np.array([[photo.kind == defect for defect in self.defects] for photo, _ in kept])
        names = split_by_group([group for _, group in kept], labels, self.fractions, self.seed)
        splits: dict[str, list[_Photo]] = {split: [] for split in SPLITS}
        for (photo, _), name in zip(kept, names, strict=True):
            splits[name].append(photo)
        for name, photos in splits.items():
            if not photos:
                tiles = len({group for _, group in kept})
                raise UserError(f"data.root={self.root}: {tiles} tiles are too few, split {name} is empty")
        return splits

    def _is_kept(self, photo: _Photo) -> bool:
        return photo.kind == HEALTHY or photo.kind in self.defects

    def describe(self) -> dict[str, Any]:
        """The arguments and a digest of all files' names, sizes and times of change; reads no pixels.

        The place of `root` is not part of it: a moved folder is the same data. Files of left-out defects
        are, since they take part in telling the tiles apart.
        """
        files = sorted(file for photo in self._photos for file in photo.files)
        return {
            "loader": LOADER_VERSION,
            "files": hashlib.sha256(json.dumps(files).encode()).hexdigest(),
            "image_size": self.image_size,
            "fit": self.fit,
            "defects": list(self.defects),
            "seed": self.seed,
            "fractions": self.fractions,
            "threshold": self.threshold,
        }

    def lengths(self) -> dict[str, int]:
        """Number of images of each split."""
        return {split: len(photos) for split, photos in self._splits.items()}

    def sample(self, split: str, index: int) -> Sample:
        """Image `index` of `split`, its name like `MT_Crack/exp1_num_1234`, kind empty.

        Raises UserError for a file that cannot be read or is cut off, a mask of another size than its
        image, and a marked defect in the folder of the healthy ones.
        """
        photo = self._splits[split][index]
        image, mask = self._read(photo)
        masks = np.zeros((self.image_size, self.image_size, len(self.defects)), dtype=np.uint8)
        if photo.kind != HEALTHY:
            masks[:, :, self.defects.index(photo.kind)] = self._fit_mask(mask)
        return Sample(self._fit_image(image)[:, :, None], masks, None, photo.name)

    def _read(self, photo: _Photo) -> tuple[np.ndarray, np.ndarray]:
        """Image, (H, W) uint8, and mask, (H, W) bool."""
        image, mask = (_read_grey(self.root / name) for name, _, _ in photo.files)
        if image.shape != mask.shape:
            raise UserError(
                f"{self.root / photo.files[1][0]}: the mask has {_size(mask)} pixels, its image "
                f"{_size(image)}; both must have the same size"
            )
        marked = mask > self.threshold
        if photo.kind == HEALTHY and marked.any():
            raise UserError(f"{self.root / photo.files[1][0]}: marks a defect in a healthy image")
        return image, marked

    def _fit_image(self, image: np.ndarray) -> np.ndarray:
        height, width = self._fitted_shape(image)
        # Border pixels, not a mirror image: that would show defects again where none is marked.
        return self._padded(_resize(image, height, width), cv2.BORDER_REPLICATE)

    def _fit_mask(self, mask: np.ndarray) -> np.ndarray:
        height, width = self._fitted_shape(mask)
        coverage = _resize(mask.astype(np.float32), height, width)
        # A defect smaller than that keeps the pixel that it covers most.
        marked = coverage >= min(MIN_COVERAGE, float(coverage.max())) if mask.any() else coverage > 0
        return self._padded(marked.astype(np.uint8), cv2.BORDER_CONSTANT)

    def _fitted_shape(self, image: np.ndarray) -> tuple[int, int]:
        if self.fit == "resize":
            return self.image_size, self.image_size
        scale = self.image_size / max(image.shape)
        height, width = (max(1, round(side * scale)) for side in image.shape)
        return height, width

    def _padded(self, image: np.ndarray, border: int) -> np.ndarray:
        missing = [self.image_size - side for side in image.shape]
        (top, left), (bottom, right) = zip(*((m // 2, m - m // 2) for m in missing), strict=True)
        return cv2.copyMakeBorder(image, top, bottom, left, right, border)


def _checked_root(root: str | None) -> Path:
    if root is None:
        raise UserError(f"data.root is not set: {EXPECTED}; {ORIGIN}")
    path = Path(root).expanduser()
    if not path.is_dir():
        raise UserError(f"data.root={root}: no such folder; {EXPECTED}; {ORIGIN}")
    for folder in FOLDERS.values():
        if not (path / folder / "Imgs").is_dir():
            raise UserError(f"data.root={root}: {folder}/Imgs is missing; {EXPECTED}; {ORIGIN}")
    return path


def _list_photos(root: Path, kind: str) -> list[_Photo]:
    """The images of one folder in the order of their ids, each with its mask."""
    folder = root / FOLDERS[kind] / "Imgs"
    with os.scandir(folder) as entries:
        # Names with a dot in front are what some systems leave beside a copied file.
        files = {e.name: e.stat() for e in entries if e.is_file() and not e.name.startswith(".")}
    photos = []
    for stem in sorted((Path(n).stem for n in files if n.endswith(".jpg")), key=lambda s: _numbers(s)[::-1]):
        if f"{stem}.png" not in files:
            raise UserError(f"{folder / stem}.jpg: has no mask, {stem}.png is expected beside it")
        names = (f"{stem}.jpg", f"{stem}.png")
        image, mask = (
            (f"{FOLDERS[kind]}/Imgs/{name}", files[name].st_size, files[name].st_mtime_ns) for name in names
        )
        photos.append(_Photo(kind, stem, (image, mask)))
    if not photos:
        raise UserError(f"{folder}: holds no image; {EXPECTED}")
    return photos


def _read_grey(path: Path) -> np.ndarray:
    """The file as (H, W) uint8; cv2.imread would fail on some systems for a path that is not ASCII."""
    try:
        data = np.fromfile(path, dtype=np.uint8)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    if _END_MARKS[path.suffix] not in data[-64:].tobytes():
        raise UserError(f"{path}: is cut off or not a {path.suffix[1:]} file")
    image = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION)
    if image is None:
        raise UserError(f"{path}: is damaged, it cannot be decoded")
    return image


def _size(image: np.ndarray) -> str:
    return " x ".join(map(str, image.shape))


def _resize(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Area average along an axis that shrinks, linear along one that grows.

    In two steps, since cv2 falls back to linear interpolation for both if either axis grows.
    """
    rows, columns = image.shape
    image = cv2.resize(image, (min(columns, width), min(rows, height)), interpolation=cv2.INTER_AREA)
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
