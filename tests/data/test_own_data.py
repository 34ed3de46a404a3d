"""From files to a data set: formats, splits that stay, a cache that survives, bad files that are named."""

import logging
import multiprocessing
import shutil
import signal
import subprocess
import sys
import time
import zlib
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from sbp.build.trainer import check_defects
from sbp.config import register_schemas
from sbp.config.paths import register_resolvers
from sbp.config.preflight import check_overrides
from sbp.data.augmentation import Augmentation
from sbp.data.dataset import open_data
from sbp.data.disk.annotations import MaskFile
from sbp.data.disk.decode import read_image, read_mask
from sbp.data.disk.listing import Item, Listing
from sbp.data.disk.source import ListedSource, Reading, Splitting
from sbp.data.layouts.masks import Masks
from sbp.data.loader import TrainLoader, plain_batches
from sbp.data.splits.split_file import read_split_file
from sbp.errors import UserError
from sbp.tracking.runs import read_runs
from sbp.tracking.store import open_store
from tests.conftest import ROOT
from tests.processes import sbp

FRACTIONS = {"train": 0.6, "val": 0.2, "test": 0.2}


def save(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imencode(path.suffix.lower(), pixels)[1].tofile(path)
    return path


def write_set(root: Path, parts: int = 30, first: int = 0, size: int = 24) -> Path:
    """Three images of each part; a scratch on every third part, a dent on every tenth."""
    rng = np.random.default_rng(first)
    for part in range(first, first + parts):
        for view in "abc":
            image = rng.integers(60, 120, (size, size)).astype(np.uint8)
            stem = f"part{part:03}_{view}"
            for name, every in (("scratch", 3), ("dent", 10)):
                if part % every == 0:
                    mask = np.zeros((size, size), np.uint8)
                    mask[4:9, 4:12] = 255
                    save(root / "masks" / name / f"{stem}.png", mask)
            save(root / "images" / f"{stem}.png", image)
    return root


def source(root: Path, file: Path | None = None, by: str = "group", seed: int = 0, **reading) -> ListedSource:
    listing = Masks(group=r"part\d+").list(str(root), ["scratch", "dent"])
    return ListedSource(
        "masks",
        listing,
        Reading(**{"height": 16, "width": 16, **reading}),
        Splitting(FRACTIONS, seed, by, file),
    )


def split_of(data: ListedSource) -> dict[str, str]:
    return {item.name: split for split, items in data.members.items() for item in items}


@pytest.fixture
def root(tmp_path) -> Path:
    return write_set(tmp_path / "set")


# -- formats


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".tiff", ".JPG"])
@pytest.mark.parametrize("channels", [1, 3])
def test_grey_and_colour_files_of_every_format(tmp_path, suffix, channels):
    colour = np.zeros((20, 30, 3), np.uint8)
    colour[:] = (10, 100, 200)  # blue, green, red
    grey = np.full((20, 30), 77, np.uint8)
    from_colour = read_image(save(tmp_path / f"c{suffix}", colour), channels)
    from_grey = read_image(save(tmp_path / f"g{suffix}", grey), channels)
    assert from_colour.shape == from_grey.shape == (20, 30, channels)
    assert np.abs(from_grey.astype(int) - 77).max() <= 2
    expected = [200, 100, 10] if channels == 3 else [round(0.299 * 200 + 0.587 * 100 + 0.114 * 10)]
    assert np.abs(from_colour[5, 5].astype(int) - expected).max() <= 3


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_sixteen_bits_need_their_white(tmp_path, suffix):
    ramp = np.linspace(0, 4095, 600).reshape(20, 30).astype(np.uint16)
    path = save(tmp_path / f"camera{suffix}", ramp)
    with pytest.raises(
        UserError, match=r"16-bit image with values up to 4095 only; .*data\.white_level=4095"
    ):
        read_image(path, 1)
    image = read_image(path, 1, white_level=4095)
    assert (image.min(), image.max()) == (0, 255)
    assert (np.diff(image.reshape(-1).astype(int)) >= 0).all()
    full = save(tmp_path / f"full{suffix}", (ramp * 16).astype(np.uint16))
    assert read_image(full, 1).max() >= 254


def test_a_black_sixteen_bit_image_is_an_image(tmp_path):
    assert read_image(save(tmp_path / "black.png", np.zeros((8, 8), np.uint16)), 1).max() == 0


def test_colour_masks_are_refused_and_grey_ones_saved_as_colour_are_read(tmp_path):
    red = np.zeros((8, 8, 3), np.uint8)
    red[2:4, 2:4, 2] = 255
    with pytest.raises(UserError, match=r"red\.png: is a colour image \(#000000, #ff0000\): say what"):
        read_mask(save(tmp_path / "red.png", red))
    white = np.zeros((8, 8, 3), np.uint8)
    white[2:4, 2:4] = 255
    assert read_mask(save(tmp_path / "white.png", white)).sum() == 4 * 255


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.png", b"", r"empty\.png: is empty \(0 bytes\)"),
        ("text.png", b"hello", r"text\.png: is cut off or not a png file"),
        ("text.tiff", b"hello", r"text\.tiff: is damaged or no image"),
        ("short.bmp", b"BM" + (9999).to_bytes(4, "little") + b"x" * 60, r"short\.bmp: is cut off"),
    ],
)
def test_files_that_are_no_images_are_named(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    for read in (lambda p: read_image(p, 1), read_mask):
        with pytest.raises(UserError, match=message):
            read(tmp_path / name)


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_a_compressed_tiff_with_a_damaged_middle_is_not_half_read(tmp_path, compression):
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 255, (200, 200)).astype(np.uint8)
    path = tmp_path / "image.tif"
    Image.fromarray(pixels).save(path, compression=compression)
    np.testing.assert_array_equal(read_image(path, 1)[:, :, 0], pixels)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    for read in (lambda p: read_image(p, 1), read_mask):
        with pytest.raises(UserError, match=r"image\.tif: is damaged"):
            read(path)


def test_a_damaged_lzw_tiff_is_refused_though_opencv_decodes_the_rest(tmp_path):
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 255, (200, 200)).astype(np.uint8)
    path = tmp_path / "image.tif"
    Image.fromarray(pixels).save(path, compression="tiff_lzw")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"image\.tif: is damaged"):
        read_image(path, 1)


def test_a_jpeg_filled_up_with_zeros_is_whole_and_a_png_may_be_called_jpg(tmp_path):
    image = np.full((30, 40), 77, np.uint8)
    path = save(tmp_path / "camera.jpg", image)
    path.write_bytes(path.read_bytes() + bytes(4096))
    assert read_image(path, 1).shape == (30, 40, 1)
    named = save(tmp_path / "image.png", image).rename(tmp_path / "png.jpg")
    assert read_image(named, 1).shape == (30, 40, 1)


def test_images_larger_than_pillows_default_are_read_and_the_largest_refused(tmp_path):
    from sbp.data.disk.decode import MOST_PIXELS

    large = save(tmp_path / "line_scan.png", np.zeros((14000, 14000), np.uint8))
    assert read_mask(large).shape == (14000, 14000)
    header = bytearray(large.read_bytes()[:33])
    header[16:24] = (40000).to_bytes(4, "big") * 2
    header[29:33] = zlib.crc32(bytes(header[12:29])).to_bytes(4, "big")
    bomb = tmp_path / "bomb.png"
    bomb.write_bytes(bytes(header) + large.read_bytes()[33:])
    for read in (lambda p: read_image(p, 1), read_mask):
        with pytest.raises(UserError, match=rf"bomb\.png: has more than {MOST_PIXELS} pixels"):
            read(bomb)


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (np.full((8, 8), 0.7, np.float32), "whole numbers from 0 to 65535"),
        (np.full((8, 8), np.nan, np.float32), "whole numbers from 0 to 65535"),
        (np.full((8, 8), 65536, np.int32), "whole numbers from 0 to 65535"),
        (np.full((8, 8), -1, np.int32), "whole numbers from 0 to 65535"),
        (
            np.stack([np.full((8, 8), 255, np.uint8)] * 3 + [np.eye(8, dtype=np.uint8) * 255], 2),
            "transparency",
        ),
    ],
)
def test_masks_whose_values_would_be_lost_are_refused(tmp_path, pixels, message):
    from PIL import Image

    path = tmp_path / ("mask.png" if pixels.ndim == 3 else "mask.tif")
    Image.fromarray(pixels).save(path)
    with pytest.raises(UserError, match=message):
        read_mask(path)


def test_masks_of_zero_and_one_are_not_taken_for_empty(root):
    mask = np.zeros((24, 24), np.uint8)
    mask[3:5] = 1
    save(root / "masks" / "dent" / "part000_a.png", mask)
    message = r"has values up to 1, .* save it as 0 and 255, or set data\.threshold"
    with pytest.raises(UserError, match=message):
        source(root)


# -- splits


def test_parts_stay_together_and_both_defects_are_everywhere(root):
    data = source(root)
    splits: dict[str, set[str]] = {}
    for name, split in split_of(data).items():
        splits.setdefault(name[:7], set()).add(split)
    assert all(len(found) == 1 for found in splits.values())
    for split in FRACTIONS:
        members = np.array([s == split for s in data.splits_of])
        assert data.labels[members].any(axis=0).all()
        assert abs(members.mean() - FRACTIONS[split]) < 0.1


def test_without_groups_parts_are_torn_apart(root):
    splits: dict[str, set[str]] = {}
    for name, split in split_of(source(root, by="image")).items():
        splits.setdefault(name[:7], set()).add(split)
    assert any(len(found) > 1 for found in splits.values())


def test_the_split_stays_when_images_are_added_and_is_kept_in_a_file(root, tmp_path):
    file = tmp_path / "splits" / "own.csv"
    before = split_of(source(root, file))
    rows = read_split_file(file)
    assert {name: row["split"] for name, row in rows.items()} == before
    assert rows["part000_a"]["defects"] == "scratch;dent"
    write_set(root, parts=30, first=30)
    save(root / "images" / "part001_z.png", np.full((24, 24), 9, np.uint8))  # another view of a known part
    data = source(root, file)
    after = split_of(data)
    assert {name: after[name] for name in before} == before
    assert after["part001_z"] == before["part001_a"]
    assert len(after) == 181
    for split in FRACTIONS:
        assert abs(np.mean([s == split for s in data.splits_of]) - FRACTIONS[split]) < 0.1
    assert split_of(source(root, file)) == after  # and written again


def test_masks_that_were_drawn_later_count_though_the_split_stays(root, tmp_path):
    file = tmp_path / "own.csv"
    drawn = {path: path.read_bytes() for path in (root / "masks" / "dent").iterdir()}
    for path in drawn:
        path.unlink()
    with pytest.raises(UserError, match=r"data\.defects=dent: no training image holds it"):
        source(root, file)
    assert not file.exists()  # no split is kept that is of no use
    for path, content in drawn.items():
        path.write_bytes(content)
    before = source(root, file)
    (root / "masks" / "dent" / "part004_a.png").write_bytes(next(iter(drawn.values())))
    after = source(root, file)
    assert split_of(after) == split_of(before)
    assert source_labels(after) == source_labels(before) | {"part004_a": [False, True]}
    assert read_split_file(file)["part004_a"]["defects"] == "dent"


def test_masks_are_read_once_for_the_split_and_not_at_every_start(root, tmp_path, monkeypatch):
    time.sleep(0.05)  # more than a tick of the clock that files are dated by
    first = source_labels(source(root, tmp_path / "own.csv"))
    monkeypatch.setattr(MaskFile, "is_empty", lambda mask: pytest.fail(str(mask.path)))
    assert source_labels(source(root, tmp_path / "own.csv")) == first


def source_labels(data: ListedSource) -> dict[str, list[bool]]:
    return {i.name: row.tolist() for i, row in zip(data.listing.items, data.labels, strict=True)}


def test_a_defect_of_two_words_keeps_its_labels(tmp_path):
    root, file = write_set(tmp_path / "set"), tmp_path / "own.csv"
    (root / "masks" / "scratch").rename(root / "masks" / "deep scratch")

    def labels() -> dict[str, list[bool]]:
        listing = Masks(group=r"part\d+").list(str(root), ["deep scratch", "dent"])
        splitting = Splitting(FRACTIONS, 0, "group", file)
        return source_labels(ListedSource("masks", listing, Reading(16, 16), splitting))

    first = labels()
    assert sum(held[0] for held in first.values()) == 30
    assert labels() == first


def test_an_image_that_is_away_for_a_while_keeps_its_place(root, tmp_path):
    file = tmp_path / "own.csv"
    before = split_of(source(root, file))
    away = {p: p.read_bytes() for p in (root / "images").glob("part00[4-8]_*.png") if not held(root, p.stem)}
    for path in away:
        path.unlink()
    save(root / "images" / "part090_a.png", np.full((24, 24), 9, np.uint8))
    source(root, file)
    for path, content in away.items():
        path.write_bytes(content)
    after = split_of(source(root, file))
    assert len(away) > 5
    assert {name: after[name] for name in before} == before


def held(root: Path, stem: str) -> bool:
    return any((root / "masks" / name / f"{stem}.png").exists() for name in ("scratch", "dent"))


def test_validation_drawn_from_an_official_training_split_stays_too(tmp_path):
    file = tmp_path / "own.csv"

    def splits(count: int) -> dict[str, str]:
        names = [f"train/{k}" for k in range(count)] + [f"test/{k}" for k in range(10)]
        items = [
            Item(
                name,
                save(tmp_path / f"{name}.png", np.zeros((8, 8), np.uint8)),
                {},
                name,
                name[:-2].strip("/"),
            )
            for name in names
        ]
        items = [
            replace(i, split=i.name.split("/")[0], labels=("dent",) if k % 3 else ())
            for k, i in enumerate(items)
        ]
        listing = Listing(tmp_path, ("dent",), items)
        return split_of(ListedSource("x", listing, Reading(8, 8), Splitting(FRACTIONS, 0, "group", file)))

    before = splits(30)
    after = splits(40)
    assert {name: after[name] for name in before} == before
    assert sum(split == "val" for split in after.values()) == 10
    lines = file.read_text().splitlines()
    k = next(k for k, line in enumerate(lines) if ",val," in line)
    file.write_text("\n".join([*lines[:k], lines[k].replace(",val,", ",train,"), *lines[k + 1 :]]) + "\n")
    assert splits(40)[lines[k].split(",")[0]] == "train"


def test_a_split_file_of_ones_own_is_obeyed_unless_it_splits_a_group(root, tmp_path):
    file = tmp_path / "own.csv"
    source(root, file)
    lines = file.read_text().splitlines()
    part = next(line.split(",")[1] for line in lines[1:] if ",train," in line and line.endswith(","))
    moved = [line.replace(",train,", ",val,") if f",{part}," in line else line for line in lines]
    file.write_text("\n".join(moved) + "\n")
    assert {split for name, split in split_of(source(root, file)).items() if name.startswith(part)} == {"val"}
    torn = [line.replace(",val,", ",train,") if line.startswith(f"{part}_c") else line for line in moved]
    file.write_text("\n".join(torn) + "\n")
    with pytest.raises(
        UserError, match=f"group {part}: the split file has it in more than one split, see {part}_c"
    ):
        source(root, file)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("name,split\na,train\n", r"must have the columns name, group, split, defects"),
        ("name,group,split,defects\na,a,valid,\n", r"line 2: split=valid: must be one of train, val, test"),
        ("name,group,split,defects\na,a,val,\na,a,test,\n", r"line 3: a is in test, above it was in val"),
    ],
)
def test_a_wrong_split_file_is_named(root, tmp_path, content, message):
    file = tmp_path / "own.csv"
    file.write_text(content)
    with pytest.raises(UserError, match=r"own\.csv.*" + message):
        source(root, file)


def test_a_defect_without_a_training_image_is_named(tmp_path):
    root = write_set(tmp_path / "set", parts=9)
    for path in (root / "masks" / "dent").iterdir():
        path.unlink()
    with pytest.raises(
        UserError, match=r"data\.defects=dent: no training image holds it, 0 images do in all"
    ):
        source(root)


def test_a_defect_that_cannot_be_measured_is_named_before_training(tmp_path, caplog):
    root = write_set(tmp_path / "set", parts=20)
    for path in (root / "masks" / "dent").iterdir():
        if not path.stem.startswith("part000"):
            path.unlink()
    check_defects(["scratch"], open_data(source(root), tmp_path / "cache"))
    assert [record.getMessage() for record in caplog.records] == [
        "dent: no image in val holds it, it is not measured there",
        "dent: no image in test holds it, it is not measured there",
    ]


# -- the cache


def test_changed_files_make_another_cache_and_moved_ones_do_not(root, tmp_path):
    first = open_data(source(root), tmp_path / "cache")
    moved = Path(shutil.move(root, tmp_path / "elsewhere"))
    assert open_data(source(moved), tmp_path / "cache").digest == first.digest
    image = moved / "images" / "part000_a.png"
    save(image, np.full((24, 24), 250, np.uint8))
    changed = open_data(source(moved), tmp_path / "cache")
    assert changed.digest != first.digest
    split = next(s for s in changed.splits.values() if "part000_a" in s.names)
    assert split.images[split.names.index("part000_a")].min() == 250


BUILDER = """
import sys, time
from pathlib import Path
from types import SimpleNamespace
from tests.data.test_own_data import source, open_data
import sbp.data.cache as cache
cache.FLUSH_EVERY = 8
def slow(done, total):
    print(done, flush=True)
    time.sleep(0.02)
open_data(source(Path(sys.argv[1])), sys.argv[2], slow)
"""


@pytest.mark.slow
def test_a_killed_build_goes_on_where_it_was(root, tmp_path):
    cache = tmp_path / "cache"
    process = subprocess.Popen(
        [sys.executable, "-c", BUILDER, str(root), str(cache)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    for line in process.stdout:
        if int(line) >= 60:
            break
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not list(cache.glob("masks-*"))  # nothing half is visible
    done: list[int] = []
    data = open_data(source(root), cache, lambda n, total: done.append(n))
    assert 40 <= done[0] <= 61  # in all splits together; at most eight images were decoded again
    fresh = open_data(source(root), tmp_path / "other")
    for name in FRACTIONS:
        np.testing.assert_array_equal(data.splits[name].images, fresh.splits[name].images)
        np.testing.assert_array_equal(data.splits[name].masks, fresh.splits[name].masks)
        np.testing.assert_array_equal(data.splits[name].labels, fresh.splits[name].labels)
        assert data.splits[name].names == fresh.splits[name].names
    assert not list(cache.glob(".*.part"))


def _build(root: Path, cache: Path, decoded) -> None:
    def count(done: int, total: int) -> None:
        with decoded.get_lock():
            decoded.value += 1
        time.sleep(0.005)

    open_data(source(root), cache, count)


def test_jobs_that_start_together_decode_once(root, tmp_path):
    context = multiprocessing.get_context("fork")
    decoded = context.Value("i", 0)
    jobs = [context.Process(target=_build, args=(root, tmp_path / "cache", decoded)) for _ in range(3)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join(60)
    assert [job.exitcode for job in jobs] == [0, 0, 0]
    assert decoded.value == 90


def test_a_bad_image_stops_before_training_or_is_skipped_and_listed(root, tmp_path, caplog):
    bad = root / "images" / "part004_b.png"
    bad.write_bytes(bad.read_bytes()[:100])
    with pytest.raises(UserError, match=r"part004_b\.png: is cut off or not a png file"):
        open_data(source(root), tmp_path / "cache")
    with caplog.at_level(logging.WARNING):
        data = open_data(source(root, skip_bad=True), tmp_path / "cache")
    names = [name for split in data.splits.values() for name in split.names]
    assert len(names) == 89
    assert "part004_b" not in names
    assert any("skipped" in r.message and "part004_b.png" in r.message for r in caplog.records)
    for split in data.splits.values():
        assert len(split.images) == len(split.masks) == len(split.labels) == len(split.names)
        assert (np.array(split.masks).any(axis=(1, 2)) == split.labels).all()
        assert split.images.reshape(len(split), -1).max(axis=1).min() > 0  # no row that was never written


def test_a_disk_without_room_is_said_before_anything_is_written(root, tmp_path, monkeypatch):
    monkeypatch.setattr("sbp.data.cache.shutil.disk_usage", lambda _: SimpleNamespace(free=10))
    with pytest.raises(UserError, match=r"the images need 0\.0 GB in .*; choose .* data\.cache=stream"):
        open_data(source(root), tmp_path / "cache")


def test_images_that_the_disk_has_no_room_for_are_streamed_and_are_the_same(
    root, tmp_path, monkeypatch, caplog
):
    (root / "images" / "part004_b.png").write_bytes(b"no image")
    cached = open_data(source(root, skip_bad=True), tmp_path / "with_room")
    monkeypatch.setattr("sbp.data.cache.shutil.disk_usage", lambda _: SimpleNamespace(free=10))
    with caplog.at_level(logging.WARNING):
        streamed = open_data(source(root, skip_bad=True), tmp_path / "without", cache="auto")
    assert any("reading them from their files in every epoch" in r.message for r in caplog.records)
    assert (streamed.mean, streamed.std, streamed.digest) == (cached.mean, cached.std, cached.digest)
    assert not list((tmp_path / "without").rglob("*images.npy"))
    for name, split in cached.splits.items():
        other = streamed.splits[name]
        assert (other.names, other.image_shape, len(other)) == (split.names, split.image_shape, len(split))
        assert (other.labels == split.labels).all()
        for part in (slice(2, 9), np.array([5, 0, 5]), -1, slice(0, 0)):
            assert (other.images[part] == split.images[part]).all()
            assert (other.masks[part] == split.masks[part]).all()


def test_an_image_that_breaks_while_streaming_is_named(root, tmp_path):
    data = open_data(source(root), tmp_path / "cache", cache="stream")
    name = data.train.names[3]
    (root / "images" / f"{name}.png").write_bytes(b"")
    with pytest.raises(UserError, match=rf"{name}\.png: is empty"):
        data.train.images[np.arange(5)]


def test_scoring_and_training_read_streamed_images_as_cached_ones(root, tmp_path):
    """Batches are read ahead, and by a process beside training; neither changes an image or the order."""
    cached = open_data(source(root), tmp_path / "a").train
    streamed = open_data(source(root), tmp_path / "b", cache="stream").train
    order = np.random.default_rng(0).permutation(len(cached))
    for indices in (order, order[:1], order[:0]):
        plain = [list(plain_batches(split, indices, 7)) for split in (cached, streamed)]
        loaders = [TrainLoader(split, Augmentation([], 0), 7, None) for split in (cached, streamed)]
        trained = [list(loader.epoch(0, indices)) if len(indices) else [] for loader in loaders]
        for ours, expected in (plain[::-1], trained[::-1]):
            assert len(ours) == len(expected) == -(-len(indices) // 7)
            for batch, same in zip(ours, expected, strict=True):
                np.testing.assert_array_equal(batch.indices, same.indices)
                np.testing.assert_array_equal(batch.images, same.images)
                np.testing.assert_array_equal(batch.masks, same.masks)
    assert [loader.loader.num_workers for loader in loaders] == [0, 1]


def test_an_image_that_breaks_while_it_is_read_ahead_is_named(root, tmp_path):
    split = open_data(source(root), tmp_path / "cache", cache="stream").train
    (root / "images" / f"{split.names[9]}.png").write_bytes(b"")
    batches = plain_batches(split, np.arange(len(split)), 4)
    assert [len(next(batches).indices) for _ in range(2)] == [4, 4]
    with pytest.raises(UserError, match=rf"{split.names[9]}\.png: is empty"):
        next(batches)


def test_statistics_are_those_of_all_training_pixels(root, tmp_path):
    data = open_data(source(root), tmp_path / "cache")
    pixels = np.array(data.train.images) / 255.0
    assert data.mean[0] == pytest.approx(pixels.mean(), abs=1e-12)
    assert data.std[0] == pytest.approx(pixels.std(), abs=1e-9)


def test_twenty_own_images_train_with_one_command_and_keep_their_split(tmp_path):
    root = tmp_path / "Größe 2 (neu)"
    for part in range(20):
        image = np.random.default_rng(part).integers(60, 120, (40, 50)).astype(np.uint8)
        if part % 3 == 0:
            mask = np.zeros((40, 50), np.uint8)
            mask[10:20, 10:30] = 255
            image[mask > 0] += 100
            save(root / "masks" / "scratch" / f"part{part}.png", mask)
        save(root / "images" / f"part{part}.png", image)
    overrides = ("data=masks", f"data.root={root}", "data.defects=[scratch]", "scale=smoke")
    done = sbp(*overrides, output=tmp_path / "out")
    assert done.returncode == 0, done.stderr
    (run,) = read_runs(open_store(None, tmp_path / "out"), "sbp")
    assert run.status == "FINISHED"
    assert run.defects == ["scratch"]
    assert np.isfinite(run.last("val/map/scratch"))
    (file,) = (tmp_path / "out" / "splits").glob("masks-*.csv")
    assert {row["split"] for row in read_split_file(file).values()} == set(FRACTIONS)


def test_what_a_mask_value_means_is_said_on_the_command_line():
    register_schemas()
    register_resolvers()
    overrides = ["data=masks", "data.defects=[scratch,dent]", "data.values={scratch: 1, dent: 2}"]
    (job,) = check_overrides(overrides).jobs
    assert job.config.data.values == {"scratch": 1, "dent": 2}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.defects=[]", "data.root=nowhere: no such folder"),
        ("data.fit=crop", "data.fit=crop: must be one of resize, pad, tile"),
        ("data.cache=ram", "data.cache=ram: must be one of auto, disk, stream"),
        ("data.on_bad=maybe", "data.on_bad=maybe: must be one of stop, skip"),
        ("data.split_by=part", "data.split_by=part: must be one of group, image"),
        ("data.channels=2", r"data.channels=2: must be 1 \(grey\) or 3 \(colour\)"),
        ("data.threshold=255", "data.threshold=255: must be between 0 and 254"),
        ("data.group='('", r"data.group=\(: is no regular expression"),
        ("data.white_level=0", "data.white_level=0: must be at least 1"),
        ("data.rare=[dent]", "data.rare=dent: must be one of scratch"),
        ("data.defects=[healthy]", "data.defects=healthy: must be a name of letters, .* other than healthy"),
        ("data.defects=['a,b']", "data.defects=a,b: must be a name of letters, digits"),
        ("data.defects=[scratch,scratch]", "data.defects=scratch: must be there once"),
    ],
)
def test_a_wrong_key_is_one_line_before_any_file_is_read(override, message):
    register_schemas()
    register_resolvers()
    with pytest.raises(UserError, match=message) as error:
        check_overrides(["data=masks", "data.root=nowhere", "data.defects=[scratch]", override])
    assert "\n" not in str(error.value)
