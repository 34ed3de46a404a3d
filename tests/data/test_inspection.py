"""The synthetic data set: the same everywhere, shares met exactly, annotations coarse and some missing."""

import hashlib
import json
from collections import Counter

import cv2
import numpy as np
import pytest

from sbp.data.source import SPLITS, Sample
from sbp.data.synthetic import DEFECTS, InspectionSource
from sbp.data.synthetic.defects import coarsen
from sbp.data.synthetic.fields import blobs, depth_inside, shear, smooth_noise, stroke
from sbp.data.synthetic.lookalikes import LOOKALIKES
from sbp.data.synthetic.source import KINDS, plan_split
from sbp.plots.contact_sheet import contact_sheet

GOLDEN_HASH = "d7c525ecef6052d276cf61b4f88b1cdb2889d1396c137eca55ebfe0d1844ee6b"
GOLDEN_MEANS = [77.2183, 92.73, 149.3689, 121.5371, 161.2021, 71.2605]


def make_source(**changes) -> InspectionSource:
    return InspectionSource(
        **{"image_size": 64, "train_images": 400, "val_images": 200, "test_images": 200, **changes}
    )


def counts(source: InspectionSource, split: str) -> Counter[str]:
    """Images per defect, with both, and per look-alike."""
    plan = source.plans[split]
    held = [{i.defect for i in instances} for instances in plan.instances.values()]
    found = Counter(defect for defects in held for defect in defects)
    return found + Counter(plan.lookalikes.values()) + Counter("both" for d in held if len(d) == 2)


def same(a: Sample, b: Sample) -> bool:
    arrays = ("image", "masks", "clean_masks")
    return (a.name, a.kind) == (b.name, b.kind) and all(
        np.array_equal(getattr(a, key), getattr(b, key)) for key in arrays
    )


@pytest.fixture(scope="module")
def source() -> InspectionSource:
    return make_source()


@pytest.fixture(scope="module")
def val(source) -> list[Sample]:
    return [source.sample("val", index) for index in range(200)]


def test_a_sample_depends_on_its_number_alone(source, val):
    other = make_source()
    for index in (150, 3, 77, 3, 0):
        assert same(other.sample("val", index), val[index])


def test_a_sample_ignores_global_random_state_and_opencv_threads(val):
    threads = cv2.getNumThreads()
    try:
        cv2.setNumThreads(1)
        np.random.seed(5)  # noqa: NPY002
        assert same(make_source().sample("val", 9), val[9])
    finally:
        cv2.setNumThreads(threads)


def test_seeds_splits_and_indices_give_different_images(source):
    other = make_source(seed=1)
    images = [s.sample(split, i).image for s in (source, other) for split in SPLITS for i in (0, 1)]
    assert len({image.tobytes() for image in images}) == 12


def test_missing_annotations_leave_image_and_truth_alone(val):
    other = make_source(missing_annotations=0.5, coarseness=0.0)
    for index in range(12):
        sample = other.sample("val", index)
        assert np.array_equal(sample.image, val[index].image)
        assert np.array_equal(sample.clean_masks, val[index].clean_masks)


def test_arrays_have_the_promised_types_and_ranges(val):
    for index, sample in enumerate(val):
        assert sample.image.shape == (64, 64, 1)
        assert sample.image.dtype == sample.masks.dtype == sample.clean_masks.dtype == np.uint8
        assert sample.masks.shape == sample.clean_masks.shape == (64, 64, 2)
        assert max(sample.masks.max(), sample.clean_masks.max()) <= 1
        assert sample.name == f"val_{index:05d}"
    pixels = np.stack([sample.image for sample in val])
    assert 80 < pixels.mean() < 140
    assert 20 < pixels.std() < 60
    assert (pixels == 255).mean() < 0.01
    assert (pixels == 0).mean() < 0.01


@pytest.mark.parametrize(
    ("split", "scratch", "broken", "lookalikes"),
    [("train", 40, 6, 6), ("val", 60, 40, 30), ("test", 60, 40, 30)],
)
def test_shares_are_met_exactly(source, split, scratch, broken, lookalikes):
    found = counts(source, split)
    assert (found["scratch"], found["broken"]) == (scratch, broken)
    assert found["both"] >= 1
    assert sum(found[kind] for kind in KINDS) == lookalikes
    assert max(found[kind] for kind in KINDS) - min(found[kind] for kind in KINDS) <= 1


def test_the_masks_follow_the_plan(source, val):
    plan = source.plans["val"]
    for index, sample in enumerate(val):
        held = plan.instances.get(index, ())
        drawn = sample.clean_masks.any(axis=(0, 1))
        assert drawn.tolist() == [any(i.defect == defect for i in held) for defect in DEFECTS]
        seen = sample.masks.any(axis=(0, 1))
        assert seen.tolist() == [any(i.defect == d and i.annotated for i in held) for d in DEFECTS]


def test_lookalikes_are_healthy(val):
    shown = [sample for sample in val if sample.kind]
    assert {sample.kind for sample in shown} == set(KINDS) == set(LOOKALIKES)
    assert not any(sample.masks.any() or sample.clean_masks.any() for sample in shown)


@pytest.mark.parametrize("images", [8, 9, 25, 199, 200])
def test_small_splits_hold_every_defect(images):
    found = counts(make_source(train_images=images), "train")
    assert found["scratch"] == max(1, round(0.1 * images))
    assert found["broken"] == max(1, round(0.015 * images))
    assert images < 200 or found["both"] >= 1


def test_a_share_of_zero_means_none():
    found = counts(make_source(rare_share=0.0, lookalike_share=0.0), "train")
    assert set(found) == {"scratch"}


def test_full_shares_fill_the_split():
    plan = plan_split(8, 0.9, 0.1, 0.0, 0.0, np.random.default_rng(0))
    assert Counter(i.defect for held in plan.instances.values() for i in held)["broken"] == 1
    assert len(plan.instances) == 8


@pytest.mark.parametrize("seed", range(3))
def test_five_percent_of_the_annotations_are_missing(seed):
    plan = make_source(seed=seed, train_images=2000).plans["train"]
    for defect, images in (("scratch", 200), ("broken", 30)):
        seen = [i.annotated for held in plan.instances.values() for i in held if i.defect == defect]
        assert len(seen) >= images
        assert seen.count(False) == round(0.05 * len(seen))


def test_no_defect_loses_all_annotations():
    for plan in make_source(train_images=8, missing_annotations=1.0).plans.values():
        seen = Counter(i.defect for held in plan.instances.values() for i in held if i.annotated)
        assert seen == {"scratch": 1, "broken": 1}


def test_annotations_are_coarse_but_hit_the_defect(source, val):
    plan, ious = source.plans["val"], []
    for index, sample in enumerate(val):
        if not all(i.annotated for i in plan.instances.get(index, ())):
            continue
        for channel in range(2):
            coarse, clean = sample.masks[..., channel], sample.clean_masks[..., channel]
            if clean.any():
                assert (coarse & clean).sum() >= clean.sum() / 2, sample.name
                ious.append((coarse & clean).sum() / (coarse | clean).sum())
    assert 0.3 < np.mean(ious) < 0.8


def test_defects_differ_from_the_panel_around_them_by_little_to_much(val):
    """Contrast in grey levels: the mask against a ring 2 to 3 pixels around it."""
    for channel in range(2):
        contrasts = []
        for sample in val:
            clean = sample.clean_masks[..., channel]
            ring = (
                cv2.dilate(clean, np.ones((7, 7), np.uint8)) - cv2.dilate(clean, np.ones((3, 3), np.uint8))
            ) > 0
            if clean.any():
                image = sample.image[..., 0].astype(float)
                contrasts.append(abs(image[clean > 0].mean() - image[ring].mean()))
        assert np.percentile(contrasts, 10) < 15
        assert np.percentile(contrasts, 90) > 20


def test_coarsen_dilates_and_moves_by_whole_pixels():
    mask = np.zeros((32, 32), np.uint8)
    mask[10:12, 10:20] = 1
    rng = np.random.default_rng(0)
    for _ in range(30):
        result = coarsen(mask, 3.0, rng)
        rows, columns = np.nonzero(result)
        height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
        assert (height - 2, width - 10) in [(2 * r, 2 * r) for r in range(4)]
        assert abs(rows.mean() - 10.5) <= 2
        assert abs(columns.mean() - 14.5) <= 2
    assert np.array_equal(coarsen(mask, 0.0, rng), mask)


def test_coarsen_never_loses_the_defect():
    mask = np.zeros((32, 32), np.uint8)
    mask[0, 0:3] = 1
    rng = np.random.default_rng(0)
    assert all((coarsen(mask, 6.0, rng) & mask).sum() >= 2 for _ in range(40))


def test_a_stroke_covers_its_length_times_its_width():
    points = np.array([[10.0, 20.0], [30.0, 20.0], [30.0, 40.0]])
    coverage = stroke(64, points, 3.0)
    assert coverage.min() == 0
    assert coverage.max() == 1
    assert coverage.sum() == pytest.approx(40 * 3 + np.pi * 1.5**2, rel=0.05)
    assert stroke(64, points + 1000, 3.0).sum() == 0
    assert stroke(64, points, 0.4).max() <= 0.4


def test_noise_has_variance_one_and_no_seam_at_the_border():
    fields = [smooth_noise(64, 9, 2, np.random.default_rng(i)) for i in range(60)]
    assert np.var(fields) == pytest.approx(1, rel=0.1)
    assert np.var([f[:, 0] for f in fields]) == pytest.approx(np.var([f[:, 32] for f in fields]), rel=0.35)


def test_fields_are_bounded_and_shear_keeps_columns():
    field = blobs(64, 5, np.random.default_rng(0))
    assert np.abs(field).max() <= 1
    assert np.array_equal(shear(field, 1.0)[:, 5], np.roll(field[:, 5], 5))
    inside = depth_inside(64, np.array([30.0, 20.0]), np.full(16, 9.0))
    assert inside[20, 30] == pytest.approx(9)
    assert inside[20, 42] == pytest.approx(-3)


@pytest.mark.parametrize("size", [32, 50, 128, 512])
def test_structures_scale_with_the_image(size):
    source = make_source(image_size=size, val_images=40)
    indices = list(source.plans["val"].instances)[: 3 if size == 512 else 18]
    samples = [source.sample("val", index) for index in indices]
    assert all(sample.image.shape == (size, size, 1) for sample in samples)
    for sample in samples:
        for channel in np.nonzero(sample.clean_masks.any(axis=(0, 1)))[0]:
            assert 0.001 < sample.clean_masks[..., channel].mean() < 0.25


def test_every_clean_mask_holds_pixels():
    source = make_source(image_size=32, train_images=300, common_share=0.5, rare_share=0.3)
    for index, held in source.plans["train"].instances.items():
        drawn = source.sample("train", index).clean_masks.sum(axis=(0, 1))
        assert all(drawn[DEFECTS.index(i.defect)] >= 4 for i in held)


def test_golden_images(source):
    """The images of generator version 2: a change here needs a new GENERATOR_VERSION."""
    digest, means = hashlib.sha256(), []
    for split in SPLITS:
        for index in range(8):
            sample = source.sample(split, index)
            digest.update(sample.image.tobytes() + sample.masks.tobytes() + sample.clean_masks.tobytes())
            means.append(sample.image.mean())
    assert means[:6] == pytest.approx(GOLDEN_MEANS, abs=0.01)
    assert digest.hexdigest() == GOLDEN_HASH


def test_the_description_names_every_argument_and_the_version(source):
    described = source.describe()
    assert json.loads(json.dumps(described)) == described
    assert described["generator"] == 2
    assert {"image_size", "seed", "rare_share", "eval_lookalike_share", "coarseness"} < set(described)
    assert make_source(coarseness=1.0).describe() != described
    assert source.lengths() == {"train": 400, "val": 200, "test": 200}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_size": 16}, r"^image_size=16: must be between 32 and 512$"),
        ({"seed": -1}, r"^seed=-1: must be at least 0$"),
        ({"val_images": 7}, r"^val_images=7: must be at least 8$"),
        ({"train_images": 10_000_001}, r"^train_images=10000001: must be at most 10000000$"),
        ({"rare_share": 1.5}, r"^rare_share=1.5: must be between 0 and 1$"),
        ({"missing_annotations": float("nan")}, r"^missing_annotations=nan: must be between 0 and 1$"),
        ({"coarseness": -1.0}, r"^coarseness=-1.0: must be between 0 and 32$"),
        ({"channels": 3}, r"^channels=3: must be 1 \(the panels are grey\)$"),
        ({"defects": ["scratch"]}, r"^defects=\['scratch'\]: must be \[scratch, broken\]$"),
        (
            {"eval_common_share": 0.8},
            r"^eval_common_share=0.8: must be at most 1 together with eval_rare_share and "
            r"eval_lookalike_share, not 1.15$",
        ),
    ],
)
def test_bad_arguments_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        make_source(**changes)


def test_the_largest_set_is_checked_without_being_planned():
    source = make_source(train_images=10_000_000)
    assert source.lengths()["train"] == 10_000_000
    assert "plans" not in vars(source)


def test_an_image_beyond_the_split_is_an_error(source):
    for index in (-1, 200):
        with pytest.raises(IndexError, match=f"image {index} of val, which has 200"):
            source.sample("val", index)


def test_contact_sheet_draws_images_at_scale_and_outlines(val):
    image = np.full((20, 30, 1), 100, np.uint8)
    mask = np.zeros((20, 30, 2), np.uint8)
    mask[8:12, 8:12, 1] = 1
    plain, outlined = (
        contact_sheet([image] * 3, [m] * 3, ["a", "b", "c"], DEFECTS, columns=2, scale=4)
        for m in (np.zeros_like(mask), mask)
    )
    assert plain.dtype == np.uint8
    assert plain.shape == outlined.shape
    assert plain.shape[1] >= 2 * 30 * 4
    assert plain.shape[0] >= 2 * 20 * 4
    assert (plain == 100).all(axis=2).sum() >= 3 * 20 * 30 * 16
    changed = outlined[(plain != outlined).any(axis=2)]
    assert len(np.unique(changed, axis=0)) == 1  # the colour of the second defect alone
    colour = np.full((20, 30, 3), 7, np.uint8)
    assert contact_sheet([colour, val[0].image], [mask, val[0].masks], ["", "$x$"], DEFECTS).ndim == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([], [], [], DEFECTS), "at least one image"),
        (([np.zeros((4, 4, 1), np.uint8)], [], ["a"], DEFECTS), "1 images, 0 masks, 1 titles"),
        (
            ([np.zeros((4, 4, 1), np.uint8)], [np.zeros((4, 4, 1))], ["a"], DEFECTS),
            r"a: masks have shape \(4, 4, 1\), must be \(4, 4, 2\)",
        ),
        (([np.zeros((4, 4, 1), np.uint8)], [np.zeros((4, 4, 2))], ["a"], DEFECTS, 0), "columns=0"),
    ],
)
def test_contact_sheet_refuses_what_does_not_fit(arguments, message):
    with pytest.raises(ValueError, match=message):
        contact_sheet(*arguments)
