"""The synthetic data set: the same everywhere, exact shares, honest annotations."""

import hashlib

import numpy as np
import pytest

from sbp.data.inspection import InspectionSource
from sbp.data.inspection.plan import KINDS
from sbp.errors import UserError


def source(**changes) -> InspectionSource:
    arguments = {"image_size": 64, "train_images": 400, "val_images": 200, "test_images": 200} | changes
    return InspectionSource(**arguments)


def test_the_same_arguments_give_the_same_images_in_any_order():
    a, b = source(), source()
    forwards = [a.sample("train", i) for i in range(12)]
    backwards = [b.sample("train", i) for i in reversed(range(12))][::-1]
    for one, other in zip(forwards, backwards, strict=True):
        assert (one.image == other.image).all()
        assert (one.masks == other.masks).all()
        assert one.name == other.name


def test_seeds_splits_and_numbers_differ():
    images = [source().sample("train", 0), source().sample("train", 1), source().sample("val", 0)]
    images.append(source(seed=1).sample("train", 0))
    assert len({s.image.tobytes() for s in images}) == 4


def test_images_are_those_of_this_version():
    """Fails when the generator changes: raise GENERATOR_VERSION then, so that no stale cache is used."""
    s = source()
    samples = [s.sample("val", i) for i in range(40)]
    digest = hashlib.sha256(b"".join(x.image.tobytes() + x.masks.tobytes() for x in samples)).hexdigest()
    assert digest[:16] == "7cbd38ac067e016b"


@pytest.mark.parametrize("size", [32, 64, 128])
def test_shapes_types_and_ranges(size):
    s = source(image_size=size)
    for index in range(8):
        sample = s.sample("test", index)
        assert sample.image.shape == (size, size, 1)
        assert sample.masks.shape == sample.clean_masks.shape == (size, size, 2)
        assert sample.image.dtype == sample.masks.dtype == np.uint8
        assert set(np.unique(sample.masks)) <= {0, 1}
        assert 40 < sample.image.mean() < 220
        assert sample.image.std() > 2


def test_shares_are_met_exactly_and_evaluation_is_richer_in_defects():
    plans = source().plans
    held = {
        split: [{i.defect for i in instances} for instances in plan.instances.values()]
        for split, plan in plans.items()
    }
    assert sum("scratch" in h for h in held["train"]) == 40
    assert sum("broken" in h for h in held["train"]) == 6
    assert sum("scratch" in h for h in held["val"]) == 60
    assert sum("broken" in h for h in held["val"]) == 40
    assert all(any(len(h) == 2 for h in images) for images in held.values())
    assert len(plans["train"].lookalikes) == 6
    assert len(plans["val"].lookalikes) == 30
    assert set(plans["val"].lookalikes.values()) == set(KINDS)


@pytest.mark.parametrize("images", [8, 20, 60])
def test_small_splits_hold_each_defect_and_an_annotation_of_each(images):
    for seed in range(5):
        plan = source(train_images=images, seed=seed).plans["train"]
        instances = [i for held in plan.instances.values() for i in held]
        for defect in ("scratch", "broken"):
            assert any(i.defect == defect and i.annotated for i in instances)


def test_about_five_percent_of_the_annotations_are_missing():
    plan = source(train_images=4000).plans["train"]
    for defect in ("scratch", "broken"):
        seen = [i.annotated for held in plan.instances.values() for i in held if i.defect == defect]
        assert 1 - np.mean(seen) == pytest.approx(0.05, abs=0.01)


def test_lookalikes_are_healthy_and_defects_have_clean_masks():
    s = source()
    plan = s.plans["val"]
    for index, kind in list(plan.lookalikes.items())[:9]:
        sample = s.sample("val", index)
        assert sample.kind == kind
        assert not sample.masks.any()
        assert not sample.clean_masks.any()
    for index in list(plan.instances)[:20]:
        sample = s.sample("val", index)
        assert sample.clean_masks.any()


def test_annotations_lie_on_the_defect_but_are_coarser():
    s = source(missing_annotations=0.0)
    overlap, growth = [], []
    for index in list(s.plans["val"].instances)[:40]:
        sample = s.sample("val", index)
        coarse, clean = sample.masks.astype(bool), sample.clean_masks.astype(bool)
        overlap.append((coarse & clean).sum() / clean.sum())
        growth.append(coarse.sum() / clean.sum())
    assert np.mean(overlap) > 0.6
    assert np.mean(growth) > 1.2
    assert np.mean(overlap) < 0.999


def test_a_scratch_changes_the_picture_under_its_mask():
    """Contrast ranges from barely visible to clear."""
    with_defects, without = source(), source(common_share=0.0, eval_common_share=0.0)
    contrasts = []
    for index in list(with_defects.plans["val"].instances)[:40]:
        sample = with_defects.sample("val", index)
        mask = sample.clean_masks[:, :, 0].astype(bool)
        if mask.any():
            around = sample.image[:, :, 0][~sample.clean_masks.any(axis=2)]
            contrasts.append(abs(float(sample.image[:, :, 0][mask].mean()) - float(around.mean())))
    assert min(contrasts) < 12 < 30 < max(contrasts)
    assert not any(s.masks[:, :, 0].any() for s in (without.sample("val", i) for i in range(30)))


def test_shares_that_add_up_to_more_than_everything_are_refused():
    with pytest.raises(UserError, match=r"data\.common_share.*add up to 1\.1, must be at most 1"):
        source(common_share=0.9, rare_share=0.15, lookalike_share=0.05)
