"""Large images: trained on in tiles, scored and evaluated whole, at their own size."""

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from sbp.build import trainer as build
from sbp.build.data import open_cached
from sbp.data.tiles import TrainingTiles, tile_count, tile_starts
from sbp.engine.tiling import Tiled
from sbp.errors import UserError
from sbp.predict import predict_folder
from sbp.seeding import seed_everything
from sbp.utils.progress import Progress
from tests.conftest import make_config
from tests.processes import sbp

HEIGHT, WIDTH = 96, 160


@pytest.mark.parametrize(
    ("length", "side", "overlap", "expected"),
    [
        (64, 64, 0.25, [0]),
        (30, 64, 0.25, [0]),
        (65, 64, 0.0, [0, 1]),
        (128, 64, 0.0, [0, 64]),
        (128, 64, 0.25, [0, 32, 64]),
        (1600, 256, 0.25, [0, 192, 384, 576, 768, 960, 1152, 1344]),
    ],
)
def test_the_fewest_tiles_that_cover_an_axis_with_the_wanted_overlap(length, side, overlap, expected):
    assert tile_starts(length, side, overlap) == expected


@pytest.mark.parametrize("length", [65, 100, 333, 1000])
@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5])
def test_tiles_cover_everything_and_overlap_enough(length, overlap):
    starts = tile_starts(length, 64, overlap)
    gaps = np.diff(starts)
    assert starts[0] == 0
    assert starts[-1] == length - 64
    assert gaps.max() <= 64 - np.floor(overlap * 64)


@pytest.mark.parametrize("shape", [(64, 64), (100, 64), (130, 250), (20, 90), (7, 9)])
def test_a_pointwise_model_gives_the_same_tiled_and_whole(shape):
    """Where surroundings do not matter, tiling must not either, whatever the size."""
    torch.manual_seed(0)
    model = nn.Conv2d(3, 2, 1)
    images = torch.randn(3, 3, *shape)
    tiled = Tiled(model, 64, overlap=0.25, batch=4)
    assert torch.allclose(tiled(images), model(images), atol=1e-5)


def test_a_model_that_looks_around_is_right_where_tiles_overlap_enough():
    """A 9 x 9 neighbourhood: only the image's border and the seams could differ, and seams must not show."""
    torch.manual_seed(0)
    model = nn.Conv2d(1, 1, 9, padding=4)
    images = torch.randn(1, 1, 150, 150)
    whole, without, with_overlap = (
        f(images) for f in (model, Tiled(model, 64, overlap=0.0), Tiled(model, 64, overlap=0.5))
    )
    seams = (without - whole).abs().max()
    assert (with_overlap - whole).abs().max() < 0.25 * seams


def test_an_image_is_trained_on_as_a_whole_and_borders_move():
    tiles = TrainingTiles(HEIGHT, WIDTH, 64, seed=0)
    assert len(tiles) == tile_count(HEIGHT, WIDTH, 64) == 6
    seen = np.zeros((HEIGHT, WIDTH))
    for epoch in range(20):
        for copy in range(len(tiles)):
            y, x = tiles.place(epoch, 5, copy)
            seen[y : y + 64, x : x + 64] += 1
    assert seen.min() > 0
    assert len({tiles.place(epoch, 5, 0) for epoch in range(20)}) > 5
    assert tiles.place(3, 5, 1) == TrainingTiles(HEIGHT, WIDTH, 64, seed=0).place(3, 5, 1)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """60 large images, some smaller than the rest; a small bright scratch on every fourth."""
    root, rng = tmp_path_factory.mktemp("large"), np.random.default_rng(0)
    for folder in ("images", "masks/scratch", "masks/dent"):
        (root / folder).mkdir(parents=True)
    for i in range(60):
        height, width = (80, 120) if i % 7 == 0 else (HEIGHT, WIDTH)
        image = rng.integers(60, 120, (height, width)).astype(np.uint8)
        for name, every in (("scratch", 4), ("dent", 10)):
            if i % every == 1:
                mask = np.zeros((height, width), np.uint8)
                y, x = rng.integers(0, height - 12), rng.integers(0, width - 12)
                mask[y : y + 10, x : x + 10] = 255
                image[mask > 0] = 220 if name == "scratch" else 10
                cv2.imwrite(str(root / "masks" / name / f"i{i:02}.png"), mask)
        cv2.imwrite(str(root / "images" / f"i{i:02}.png"), image)
    return root


def overrides(root, *more):
    return [
        "data=masks",
        f"data.root={root}",
        "data.defects=[scratch,dent]",
        "model=unet_small",
        "data.fit=tile",
        "data.image_size=64",
        "scale=smoke",
        *more,
    ]


def make_tiled_trainer(root, output, *more):
    config = make_config(
        *overrides(
            root,
            f"output_root={output}",
            "budget.compute=1",
            "augmentation=none",
            "selection=selective",
            *more,
        )
    )
    seed_everything(0)
    data = open_cached(config)
    model = build.build_model(config, 2)
    return build.build_trainer(config, model, data, Progress())


def test_samples_have_the_size_of_the_largest_image_and_nothing_is_scaled(root, tmp_path):
    trainer = make_tiled_trainer(root, tmp_path)
    train = trainer.data.train
    assert train.images.shape[1:] == (HEIGHT, WIDTH, 1)
    originals = {path.name: cv2.imread(str(path), 0) for path in (root / "images").iterdir()}
    for i in range(len(train)):
        image = originals[train.names[i].split("/")[-1] + ("" if "." in train.names[i] else ".png")]
        top, left = (HEIGHT - image.shape[0]) // 2, (WIDTH - image.shape[1]) // 2
        inside = train.images[i][top : top + image.shape[0], left : left + image.shape[1], 0]
        assert (inside == image).all()


def test_an_epoch_trains_on_every_tile_once_and_costs_what_its_tiles_cost(root, tmp_path):
    trainer = make_tiled_trainer(root, tmp_path, "selection=none", "budget.compute=null", "budget.epochs=1")
    shapes, count = [], 0
    for batch in trainer.loader.epoch(0, np.arange(len(trainer.data.train))):
        shapes.append(tuple(batch.images.shape[1:]))
        count += len(batch.indices)
    assert set(shapes) == {(64, 64, 1)}
    assert count == 6 * len(trainer.data.train)
    record = next(iter(trainer.epochs()))
    assert record.metrics["cost/baseline_epochs"] == pytest.approx(1.0)
    assert record.metrics["train/images"] == pytest.approx(len(trainer.data.train))
    assert (trainer.sampler.book.times_selected == 1).all()


def test_an_image_is_scored_over_all_its_tiles(root, tmp_path):
    """The score under max is the largest loss anywhere in the image, wherever the defect lies."""
    trainer = make_tiled_trainer(root, tmp_path)
    split = trainer.data.train
    scores = trainer.scorer.score(split, np.arange(len(split)), epoch=0)
    maps = trainer.scorer.loss_maps(split, np.arange(len(split)))
    assert maps.losses.shape == (len(split), 2, HEIGHT, WIDTH)
    chosen = trainer.scorer.schemes.index("max")
    assert np.allclose(scores[chosen], maps.losses.max(axis=(2, 3)), atol=1e-5)
    marked = split.labels[:, 0]  # an untrained model holds pixels for healthy: what is marked costs most
    assert scores[chosen][marked, 0].min() > scores[chosen][~marked, 0].max()


def test_the_scoring_pass_is_charged_for_its_overlapping_tiles(root, tmp_path):
    trainer = make_tiled_trainer(root, tmp_path)
    cost = trainer.ledger.model_cost
    ratio = tile_count(HEIGHT, WIDTH, 64, 0.25) / tile_count(HEIGHT, WIDTH, 64)
    assert cost.training == pytest.approx(3 * cost.forward)
    assert cost.scoring == pytest.approx(ratio * cost.forward)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("staleness=reuse", "data.fit=tile staleness=reuse: a training step sees tiles"),
        ("gradients.every=1", "data.fit=tile gradients.every=1: the probe wants whole images"),
        ("data.tile_overlap=0.9", "data.tile_overlap=0.9: must be between 0 and 0.75"),
        ("data.image_size=50", "data.image_size=50: must be a multiple of"),
    ],
)
def test_what_tiles_cannot_do_is_one_line(override, message):
    with pytest.raises(UserError, match=message.replace(".", r"\.")):
        make_config(*overrides("somewhere", "selection=selective", override))


@pytest.mark.slow
def test_a_run_on_large_images_predicts_masks_in_their_size(root, tmp_path):
    done = sbp(*overrides(root, "budget.compute=2", "trainer.threads=1"), output=tmp_path / "out")
    assert done.returncode == 0, done.stderr
    checkpoint = next((tmp_path / "out" / "runs").rglob("last.pt"))
    for path, confidence in predict_folder(checkpoint, root / "images", tmp_path / "p"):
        mask = cv2.imread(str(tmp_path / "p" / "masks" / "scratch" / f"{path.stem}.png"), 0)
        assert mask.shape == cv2.imread(str(path), 0).shape
        assert set(confidence) == {"scratch", "dent"}
