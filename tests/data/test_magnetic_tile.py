"""The Magnetic Tile loader on a few images in the published layout; on the real set where it is at hand.

The real set is read when the environment variable SBP_MAGNETIC_TILE names its folder.
"""

import json
import os
import re
import shutil
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from sbp.data.dataset import open_data
from sbp.data.disk.source import ListedSource, Reading, Splitting
from sbp.data.layouts.magnetic_tile import DEFECTS, FOLDERS, HEALTHY, MagneticTile, tile_groups
from sbp.data.source import SPLITS
from sbp.errors import UserError

REAL = os.environ.get("SBP_MAGNETIC_TILE")
HEIGHT, WIDTH = 40, 24
TILES = {HEALTHY: 8, **dict.fromkeys(DEFECTS, 3)}


def write_pair(root: Path, kind: str, stem: str, image: np.ndarray, mask: np.ndarray) -> None:
    folder = root / FOLDERS[kind] / "Imgs"
    folder.mkdir(parents=True, exist_ok=True)
    for suffix, pixels in ((".jpg", image), (".png", mask)):
        cv2.imencode(suffix, pixels)[1].tofile(folder / (stem + suffix))


def grey(value: int, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    return np.full((height, width), value, dtype=np.uint8)


def soft_mask(height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """Rows 8 to 15 annotated, with a fringe of grey as in the published masks."""
    mask = grey(0, height, width)
    mask[7], mask[16] = 100, 127
    mask[8:16] = 255
    mask[8, ::2] = 128
    return mask


def write_set(root: Path) -> Path:
    """TILES tiles of each kind, photographed for exp 1 to 3 with ids close together."""
    number = 100_000_000  # beyond the published ids, so that the known retakes play no part
    for kind, tiles in TILES.items():
        for _ in range(tiles):
            number += 1000
            for exposure in (1, 2, 3):
                mask = grey(0) if kind == HEALTHY else soft_mask()
                stem = f"exp{exposure}_num_{number + 15 * exposure}"
                write_pair(root, kind, stem, grey(90 + 10 * exposure), mask)
    return root


@pytest.fixture
def root(tmp_path) -> Path:
    return write_set(tmp_path / "Kacheln für Prüfung")


def source(
    root: Path | str | None,
    image_size: int = 16,
    fit: str = "resize",
    defects=DEFECTS,
    threshold: int = 127,
    seed: int = 0,
    val_fraction: float = 0.2,
    test_fraction: float = 0.2,
) -> ListedSource:
    listing = MagneticTile(threshold).list(None if root is None else str(root), defects)
    fractions = {"train": 1 - val_fraction - test_fraction, "val": val_fraction, "test": test_fraction}
    reading = Reading(image_size, image_size, fit)
    return ListedSource("magnetic_tile", listing, reading, Splitting(fractions, seed))


def all_samples(data: ListedSource) -> dict[str, list]:
    return {split: [data.sample(split, i) for i in range(n)] for split, n in data.lengths().items()}


def first(root: Path, kind: str, suffix: str) -> Path:
    return min((root / FOLDERS[kind] / "Imgs").glob("*" + suffix))


def number_of(name: str) -> int:
    return int(name.rsplit("_", 1)[1])


# -- samples


def test_every_image_is_read_with_its_own_mask(root):
    data = source(root)
    samples = all_samples(data)
    assert data.lengths() == {split: len(found) for split, found in samples.items()}
    assert sum(data.lengths().values()) == 3 * sum(TILES.values())
    names = [sample.name for found in samples.values() for sample in found]
    assert len(set(names)) == len(names)
    for sample in (sample for found in samples.values() for sample in found):
        assert sample.image.shape == (16, 16, 1)
        assert sample.masks.shape == (16, 16, 5)
        assert sample.image.dtype == sample.masks.dtype == np.uint8
        assert set(np.unique(sample.masks)) <= {0, 1}
        assert sample.clean_masks is None
        assert sample.kind == ""
        assert re.fullmatch(r"MT_[A-Z][a-z]+/exp[1-3]_num_\d+", sample.name)
        held = [defect for k, defect in enumerate(data.defects) if sample.masks[:, :, k].any()]
        folder = sample.name.split("/")[0]
        assert [FOLDERS[defect] for defect in held] == ([] if folder == "MT_Free" else [folder])
        exposure = int(sample.name.split("exp")[1][0])
        assert abs(int(sample.image[8, 8, 0]) - (90 + 10 * exposure)) <= 2


def test_a_soft_mask_is_cut_at_the_threshold(root):
    at_full_size = {"image_size": HEIGHT, "fit": "pad", "defects": ["crack"]}
    for threshold, rows in ((127, range(8, 16)), (99, range(7, 17))):
        samples = all_samples(source(root, threshold=threshold, **at_full_size))
        mask = next(s.masks for s in samples["train"] if "Crack" in s.name)[:, :, 0]
        assert np.flatnonzero(mask.any(axis=1)).tolist() == list(rows)
        assert mask[8].sum() == WIDTH


def test_pad_keeps_the_shape_and_annotates_nothing_in_the_border(root):
    image = np.tile(np.arange(WIDTH, dtype=np.uint8) * 10, (HEIGHT, 1))
    stem = first(root, "crack", ".jpg").stem
    write_pair(root, "crack", stem, image, grey(255))
    data = source(root, fit="pad", image_size=20, defects=["crack"])
    sample = next(s for found in all_samples(data).values() for s in found if s.name.endswith(stem))
    # 40 x 24 becomes 20 x 12, with 4 columns on each side.
    assert np.flatnonzero(sample.masks[:, :, 0].any(axis=0)).tolist() == list(range(4, 16))
    assert sample.masks[:, 4:16].all()
    pixels = sample.image[:, :, 0].astype(int)
    assert (pixels[:, :4] == pixels[:, 4:5]).all()
    assert (pixels[:, 16:] == pixels[:, 15:16]).all()
    assert pixels[10, 4] < pixels[10, 9] < pixels[10, 15]


@pytest.mark.parametrize("fit", ["resize", "pad"])
@pytest.mark.parametrize("size", [4, 8, 30, 64])
def test_thin_defects_do_not_vanish(root, fit, size):
    stem = first(root, "crack", ".jpg").stem
    for drawn in (np.s_[:, 11], np.s_[17, 5]):
        mask = grey(0)
        mask[drawn] = 255
        write_pair(root, "crack", stem, grey(100), mask)
        data = source(root, fit=fit, image_size=size, defects=["crack"])
        sample = next(s for found in all_samples(data).values() for s in found if s.name.endswith(stem))
        mask = sample.masks[:, :, 0]
        assert mask.any()
        assert mask.mean() < 0.5
        if drawn == np.s_[:, 11] and fit == "resize":
            assert mask.any(axis=1).all()  # the line stays in one piece


def test_an_empty_annotation_stays_empty(root):
    write_pair(root, "uneven", first(root, "uneven", ".jpg").stem, grey(100), grey(0))
    counts = Counter(
        bool(sample.masks.any())
        for found in all_samples(source(root)).values()
        for sample in found
        if "Uneven" in sample.name
    )
    assert counts == {True: 8, False: 1}


def test_left_out_defects_take_their_images_along(root):
    data = source(root, defects=["fray", "crack"])
    assert data.defects == ("fray", "crack")
    samples = [sample for found in all_samples(data).values() for sample in found]
    assert {sample.name.split("/")[0] for sample in samples} == {"MT_Fray", "MT_Crack", "MT_Free"}
    for sample in samples:
        held = sample.masks.any(axis=(0, 1)).tolist()
        assert held == ["Fray" in sample.name, "Crack" in sample.name]


def test_hidden_and_other_files_are_passed_over(root):
    folder = root / "MT_Free" / "Imgs"
    (folder / "._exp1_num_100001015.jpg").write_bytes(b"x")
    (folder / "Thumbs.db").write_bytes(b"x")
    assert sum(source(root).lengths().values()) == 3 * sum(TILES.values())


def test_the_loader_fills_the_cache(root, tmp_path):
    data = open_data(source(root), tmp_path / "cache")
    for split in SPLITS:
        assert data.splits[split].labels.any(axis=0).all()


# -- tiles and splits


def test_siblings_stay_together_and_every_defect_is_in_every_split(root):
    splits: dict[int, set[str]] = {}
    for split, found in all_samples(source(root)).items():
        assert {sample.name.split("/")[0] for sample in found} == set(FOLDERS.values())
        for sample in found:
            splits.setdefault(number_of(sample.name) // 1000, set()).add(split)
    assert len(splits) == sum(TILES.values())
    assert all(len(found) == 1 for found in splits.values())


def test_the_seed_decides_the_split(root):
    def names(seed: int) -> list[str]:
        return [sample.name for sample in all_samples(source(root, seed=seed))["test"]]

    assert names(0) == names(0)
    assert len({tuple(names(seed)) for seed in range(4)}) > 1


def stems(*pairs: tuple[int, int]) -> list[str]:
    return [f"exp{exposure}_num_{number}" for exposure, number in pairs]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (stems((1, 1000), (2, 1020), (3, 1040), (1, 1500), (2, 1520)), [0, 0, 0, 1, 1]),
        (stems((1, 1500), (2, 1020), (2, 1520), (1, 1000)), [1, 0, 1, 0]),
        # The order of exp is free, and one exp may come much later than the others.
        (stems((5, 1000), (6, 1020), (1, 1500), (4, 1900), (5, 2500)), [0, 0, 0, 0, 1]),
        # Photographed in turns: told apart only where the id jumps.
        (stems((1, 1000), (1, 1003), (2, 1020), (2, 1023), (1, 1222), (1, 1422)), [0, 0, 0, 0, 0, 1]),
        (stems((1, 1000), (1, 1200)), [0, 1]),
        (stems((1, 1000), (1, 1199)), [0, 0]),
        (stems(), []),
    ],
)
def test_tile_groups_by_hand(names, expected):
    assert tile_groups(names) == expected


def test_retakes_are_joined():
    names = stems((1, 1000), (1, 2000), (1, 3000), (1, 4000), (1, 5000))
    assert tile_groups(names, retakes=[[(1000, 1100), (3900, 4000)]]) == [0, 1, 2, 0, 3]
    assert tile_groups(names, retakes=[[(1500, 2500), (3000, 3000)], [(2900, 4000)]]) == [0, 1, 1, 1, 2]
    assert tile_groups(stems((1, 37056), (1, 40000), (1, 37675))) == [0, 1, 0]


def test_gap_decides_what_is_told_apart():
    names = stems((1, 1000), (1, 1050), (1, 1100))
    assert tile_groups(names, gap=50) == [0, 1, 2]
    assert tile_groups(names, gap=51) == [0, 0, 0]


# -- description


def test_the_description_identifies_the_content(root, tmp_path):
    before = source(root).describe()
    assert json.loads(json.dumps(before)) == before == source(root).describe()
    moved = Path(shutil.move(root, tmp_path / "elsewhere"))
    assert source(moved).describe() == before
    others = ({"image_size": 8}, {"fit": "pad"}, {"defects": ["crack"]}, {"seed": 1}, {"threshold": 99})
    for changed in (*others, {"val_fraction": 0.3}, {"test_fraction": 0.3}):
        assert source(moved, **changed).describe() != before
    copied = Path(shutil.copytree(moved, tmp_path / "copy", copy_function=shutil.copyfile))
    mask = first(copied, "crack", ".png")
    os.utime(mask, ns=(1, 1))
    assert source(copied).describe() == before
    content = mask.read_bytes()
    mask.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    os.utime(mask, ns=(1, 1))
    assert source(copied).describe() != before


def test_the_description_reads_no_pixels(root):
    for path in root.rglob("*.jpg"):
        path.write_bytes(b"not an image")
    described = source(root)
    assert len(described.describe()["files"]) == 64
    with pytest.raises(UserError, match="not a jpg file"):
        described.sample("train", 0)


# -- mistakes


def refused(message: str):
    return pytest.raises(UserError, match=message)


def test_every_message_is_one_line(tmp_path):
    with pytest.raises(UserError) as caught:
        source(tmp_path)
    assert "\n" not in str(caught.value)


def test_no_root_says_where_the_set_can_be_had():
    with refused(
        r"data\.root is not set: expected are .*MT_Free.*Imgs/exp1_num_123\.jpg.*Huang.*abin24/Magnetic"
    ):
        source(None)


def test_a_root_that_is_not_there_is_named(tmp_path):
    with refused(r"data\.root=.*nowhere: no such folder; expected are .*MT_Blowhole.*abin24/Magnetic"):
        source(tmp_path / "nowhere")


def test_a_missing_class_folder_is_named(root):
    shutil.rmtree(root / "MT_Fray")
    with refused(r"data\.root=.*: MT_Fray/Imgs is missing; expected are "):
        source(root)


def test_an_empty_class_folder_is_named(root):
    for path in (root / "MT_Fray" / "Imgs").iterdir():
        path.unlink()
    with refused(r"MT_Fray.Imgs: holds no image"):
        source(root)


def test_an_image_without_mask_is_named(root):
    mask = first(root, HEALTHY, ".png")
    mask.unlink()
    with refused(rf"{mask.stem}\.jpg: has no mask, {mask.stem}\.png is expected beside it"):
        source(root)


def test_a_name_of_another_form_is_named(root):
    write_pair(root, "crack", "copy of exp1_num_5", grey(1), grey(0))
    with refused(r"copy of exp1_num_5\.jpg: the name of an image must have the form exp1_num_123\.jpg"):
        source(root)


def read_all(root: Path) -> None:
    all_samples(source(root))


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
@pytest.mark.parametrize("share", [0, 0.5, 0.98])
def test_a_file_cut_off_is_named(root, suffix, share):
    path = first(root, "break", suffix)
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    about = f"is cut off or not a {suffix[1:]} file" if share else r"is empty \(0 bytes\)"
    with refused(rf"MT_Break.Imgs.{path.name}: {about}"):
        read_all(root)


@pytest.mark.parametrize(("suffix", "end"), [(".jpg", b"\xff\xd9"), (".png", b"IEND\xaeB`\x82")])
def test_a_damaged_file_is_named(root, suffix, end):
    path = first(root, "break", suffix)
    path.write_bytes(b"something else" + end)
    with refused(rf"{path.name}: is damaged or no image, it cannot be decoded"):
        read_all(root)


def test_a_file_that_went_away_is_named(root):
    data = source(root)
    path = first(root, "break", ".png")
    path.unlink()
    with refused(rf"{path.name}: cannot be read \(No such file"):
        all_samples(data)


def test_a_mask_of_another_size_is_named(root):
    stem = first(root, "blowhole", ".jpg").stem
    write_pair(root, "blowhole", stem, grey(100), soft_mask(HEIGHT, WIDTH + 1))
    with refused(
        rf"{stem}\.png: the mask has 40 x 25 pixels, its image 40 x 24; both must have the same size"
    ):
        read_all(root)


def test_a_defect_in_a_healthy_image_is_named(root):
    stem = first(root, HEALTHY, ".jpg").stem
    write_pair(root, HEALTHY, stem, grey(100), soft_mask())
    with refused(rf"MT_Free.Imgs.{stem}\.png: annotates a defect in a healthy image"):
        read_all(root)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"defects": ["crack", "rust"]},
            r"data\.defects=rust: must be any of blowhole, crack, break, fray, uneven",
        ),
        ({"defects": ["free"]}, r"data\.defects=free: must be any of"),
        ({"val_fraction": 0}, r"data\.val_fraction=0 data\.test_fraction=0\.2: each must be above 0"),
        ({"val_fraction": 0.5, "test_fraction": 0.5}, r"data\.val_fraction=0\.5 .*both together below 1"),
    ],
)
def test_wrong_arguments_are_refused(root, arguments, message):
    with refused(message):
        source(root, **arguments)


@pytest.mark.parametrize("threshold", [-1, 255])
def test_a_threshold_that_no_mask_has_is_refused(threshold):
    with pytest.raises(ValueError, match=f"^threshold={threshold}: must be between 0 and 254$"):
        MagneticTile(threshold)


def test_too_few_tiles_are_refused(tmp_path):
    for k, kind in enumerate(FOLDERS):
        write_pair(tmp_path, kind, f"exp{k + 1}_num_{10 * k}", grey(100), grey(0))
    with refused(r"1 groups of images are too few.* split val is empty"):
        source(tmp_path)


# -- the real set


@pytest.mark.skipif(not REAL, reason="SBP_MAGNETIC_TILE does not name the folder of the published set")
def test_the_published_set():
    data = source(REAL, 128)
    names = [path.stem for path in Path(str(REAL)).glob("MT_*/Imgs/*.jpg")]
    group_of = dict(zip(names, tile_groups(names), strict=True))
    assert len(names) == 1344
    assert len(set(group_of.values())) == 183
    assert max(Counter(group_of.values()).values()) == 26
    samples = all_samples(data)
    labels = {split: np.stack([s.masks.any(axis=(0, 1)) for s in found]) for split, found in samples.items()}
    assert sum(len(found) for found in samples.values()) == 1344
    assert sum("MT_Free" in s.name for found in samples.values() for s in found) == 952
    totals = sum(found.sum(axis=0) for found in labels.values())
    assert totals.tolist() == [115, 57, 85, 32, 99]  # four images of MT_Uneven have an empty mask
    held = [{group_of[s.name.split("/")[1]] for s in samples[split]} for split in SPLITS]
    assert sum(map(len, held)) == len(set.union(*held))
    for split, fraction in data.splitting.fractions.items():
        assert (np.abs(labels[split].sum(axis=0) / totals - fraction) < 0.06).all()
        assert len(samples[split]) / 1344 == pytest.approx(fraction, abs=0.02)
