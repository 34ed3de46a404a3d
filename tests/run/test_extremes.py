"""Extreme but legal: the smallest, the largest, the most uniform; all of it must train."""

import numpy as np
import pytest

from sbp.build import trainer as build
from sbp.data.dataset import open_data
from sbp.data.source import Sample
from sbp.engine.trainer import Trainer
from sbp.seeding import seed_everything
from sbp.utils.progress import Progress
from tests.conftest import make_config


class Source:
    """Images with as many defects as wanted; image i holds defect i modulo the number, if `marked(i)`."""

    name = "extreme"

    def __init__(
        self, train: int = 12, defects: int = 2, size: int = 32, marked=lambda i: i % 2 == 0, area: int = 4
    ):
        self.train, self.size, self.marked, self.area = train, size, marked, area
        self.defects = tuple(f"defect{d}" for d in range(defects))

    def describe(self) -> dict:
        marked = [bool(self.marked(i)) for i in range(self.train)]
        return {
            "train": self.train,
            "defects": len(self.defects),
            "size": self.size,
            "marked": marked,
            "a": self.area,
        }

    def lengths(self) -> dict[str, int]:
        return {"train": self.train, "val": min(self.train, 4), "test": 1}

    def sample(self, split: str, index: int) -> Sample:
        image = np.random.default_rng(index).integers(0, 80, (self.size, self.size, 1)).astype(np.uint8)
        masks = np.zeros((self.size, self.size, len(self.defects)), np.uint8)
        if self.marked(index):
            masks[3 : 3 + self.area, 3 : 3 + self.area, index % len(self.defects)] = 1
        image[masks.any(axis=2)] = 255
        return Sample(image, masks, None, f"{split}{index}")


def train(tmp_path, source: Source, *overrides: str) -> tuple[Trainer, list]:
    config = make_config(
        "budget.compute=null",
        "budget.epochs=3",
        "model.encoder_depth=3",
        "model.decoder_channels=[16,8,8]",
        *overrides,
    )
    config.data.defects = list(source.defects)
    config.defects.focus = list(source.defects)
    config.data.rare = list(source.defects[-1:])
    seed_everything(0)
    model = build.build_model(config, len(source.defects))
    trainer = build.build_trainer(config, model, open_data(source, tmp_path), Progress())
    records = list(trainer.epochs())
    assert len(records) == 3
    assert all(np.isfinite(record.metrics["train/loss"]) for record in records)
    trainer.evaluate("test")
    return trainer, records


SOURCES = {
    "one image": Source(train=1),
    "one image, one defect": Source(train=1, defects=1, marked=lambda i: True),
    "no healthy": Source(marked=lambda i: True),
    "all healthy": Source(marked=lambda i: False),
    "one pixel": Source(area=1),
    "30 defects": Source(defects=30, train=60),
    "8 x 8": Source(size=8),
}
QUICK = {
    "selective": set(SOURCES),
    "none": {"one image"},
    "random": {"one image"},
    "balanced": {"one image, one defect", "no healthy", "all healthy"},
    "per_defect": {"one image", "all healthy", "30 defects"},
}
"""Where a selection has something else to do; the others, in make test-slow, are of the same kind."""


def combinations():
    for selection, quick in QUICK.items():
        for name in SOURCES:
            marks = () if name in quick else pytest.mark.slow
            yield pytest.param(name, selection, marks=marks, id=f"{name}-{selection}")


@pytest.mark.slow
@pytest.mark.parametrize(("source", "selection"), combinations())
def test_the_smallest_and_the_most_uniform_sets_train(tmp_path, source, selection):
    train(tmp_path, SOURCES[source], f"selection={selection}", "upsampling=rare")


@pytest.mark.parametrize("beta", [0, 1e-6, 1000, 1e30])
def test_any_beta_keeps_at_least_one_image(tmp_path, beta):
    _, records = train(tmp_path, Source(), f"beta.value={beta}")
    kept = records[-1].metrics["train/images"]
    assert kept == 12 if beta < 1 else 1 <= kept < 12


def test_a_batch_larger_than_the_data(tmp_path):
    overrides = ("trainer.batch_size=500", "scoring.batch_size=500", "evaluation.batch_size=500")
    _, records = train(tmp_path, Source(), "selection=none", *overrides)
    assert records[-1].metrics["train/images"] == 12


@pytest.mark.slow
@pytest.mark.parametrize("staleness", ["every_epoch", "stale", "smart", "stale_smart", "reuse"])
def test_equal_losses_are_drawn_as_if_blindly(tmp_path, staleness):
    """Every score the same: all percentiles are (n + 1) / 2n, and nothing prefers an image."""
    trainer, _ = train(tmp_path, Source(train=40), f"staleness={staleness}", "beta.value=1")
    sampler = trainer.sampler
    sampler.record_scores(np.arange(40), np.ones((len(sampler.book.schemes), 40, 2), np.float32), 3)
    counts = np.zeros(40)
    for epoch in range(4, 404):
        counts[sampler.plan(epoch).indices] += 1
    expected = 400 * 41 / 80
    assert np.abs(counts - expected).max() < 6 * np.sqrt(expected / 2)
