"""Average precision and histograms against cases worked out by hand, exact sums and COCO."""

import os
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sbp.metrics import (
    LossHistogram,
    PixelAveragePrecision,
    RegionAveragePrecision,
    mean_over_defects,
    quantiles,
    region_ap,
)
from sbp.metrics.region_ap import average_precision

SIZE = 16
A, B = (slice(0, 4), slice(0, 4)), (slice(8, 12), slice(8, 12))  # two squares of 16 pixels, far apart
ELSEWHERE = (slice(0, 4), slice(8, 12))


def canvas(*drawn: tuple) -> np.ndarray:
    """(1, 1, 16, 16) zeros with `(place, value)` drawn in."""
    image = np.zeros((1, 1, SIZE, SIZE), dtype=np.float32)
    for place, value in drawn:
        image[(0, 0, *place)] = value
    return image


def region_ap_of(probabilities, target, **settings) -> float:
    metric = RegionAveragePrecision(probabilities.shape[1], **settings)
    metric.update(probabilities, target)
    return metric.compute().ap[0]


BOTH = canvas((A, 1), (B, 1))


# Region average precision, by hand.


@pytest.mark.parametrize(
    ("predicted", "target", "expected"),
    [
        pytest.param([(A, 0.9), (B, 0.8)], BOTH, 1.0, id="perfect"),
        pytest.param([(A, 0.9)], BOTH, 0.5, id="one of two missed: precision 1 up to recall 1/2"),
        pytest.param([], BOTH, 0.0, id="nothing predicted"),
        pytest.param([(ELSEWHERE, 0.9)], BOTH, 0.0, id="only a false alarm"),
        # One target: TP after FP has precision 1/2 at recall 1.
        pytest.param([(ELSEWHERE, 0.9), (A, 0.8)], canvas((A, 1)), 0.5, id="false alarm above"),
        pytest.param([(A, 0.9), (ELSEWHERE, 0.8)], canvas((A, 1)), 1.0, id="false alarm below"),
        # Equal confidence: one operating point, with TP 1 and FP 1.
        pytest.param([(A, 0.9), (ELSEWHERE, 0.9)], canvas((A, 1)), 0.5, id="tie"),
        # FP, TP, TP: precisions 0, 1/2, 2/3; the envelope lifts the 1/2 to 2/3.
        pytest.param([(ELSEWHERE, 0.9), (A, 0.8), (B, 0.7)], BOTH, 2 / 3, id="envelope"),
        # TP, FP, TP: precisions 1, 1/2, 2/3, so 1/2 * 1 + 1/2 * 2/3.
        pytest.param([(A, 0.9), (ELSEWHERE, 0.8), (B, 0.7)], BOTH, 1 / 2 + 1 / 3, id="false alarm between"),
    ],
)
def test_region_ap_by_hand(predicted, target, expected):
    assert region_ap_of(canvas(*predicted), target) == pytest.approx(expected)


def test_a_second_detection_of_the_same_target_is_a_false_alarm():
    target = canvas(((slice(0, 4), slice(0, 9)), 1))  # 36 pixels; each half is 16 pixels, IoU 16/36 = 0.44
    left, right = (slice(0, 4), slice(0, 4)), (slice(0, 4), slice(5, 9))
    target_too = (slice(12, 14), slice(12, 14))
    target[(0, 0, *target_too)] = 1
    predicted = canvas((left, 0.9), (right, 0.8), (target_too, 0.7))  # TP, duplicate, TP
    assert region_ap_of(predicted, target, iou_thresholds=(0.4,)) == pytest.approx(1 / 2 + 1 / 2 * 2 / 3)


def test_two_thresholds_are_averaged():
    target = canvas(((slice(0, 4), slice(0, 8)), 1))  # 32 pixels, of which 16 are found: IoU exactly 0.5
    metric = RegionAveragePrecision(1, iou_thresholds=(0.5, 0.51))
    metric.update(canvas((A, 0.9)), target)
    result = metric.compute()
    np.testing.assert_array_equal(result.ap_per_threshold, [[1.0, 0.0]])
    assert result.ap[0] == 0.5


def test_a_taken_target_leaves_the_next_best():
    """Both predictions prefer the same target; the less sure one gets the other, which it also reaches."""
    iou = np.array([0.6, 0.5, 0.4])
    found = region_ap.match(
        np.array([0.9, 0.8]), np.array([0, 1, 1]), np.array([1, 1, 2]), iou, np.array([0.1, 0.45])
    )
    np.testing.assert_array_equal(found, [[True, True], [True, False]])


def test_equally_confident_regions_match_the_same_when_the_image_is_mirrored():
    """A bar touching both targets and a square on the first: the square has the larger IoU and goes first."""
    target = canvas(((slice(0, 4), slice(0, 4)), 1), ((slice(6, 10), slice(0, 4)), 1))
    bar, square = (slice(1, 8), slice(0, 1)), (slice(0, 4), slice(2, 4))
    predicted = canvas((bar, 1.0), (square, 1.0))
    values = {
        region_ap_of(np.flip(predicted, axes).copy(), np.flip(target, axes).copy(), iou_thresholds=(0.05,))
        for axes in ((), (2,), (3,), (2, 3))
    }
    assert values == {1.0}


def test_a_defect_without_targets_is_nan_and_stays_out_of_the_mean():
    predicted = np.concatenate([canvas((A, 0.9)), canvas((A, 0.9))], axis=1)
    target = np.concatenate([canvas((A, 1)), canvas()], axis=1)
    metric = RegionAveragePrecision(2)
    metric.update(predicted, target)
    result = metric.compute()
    np.testing.assert_array_equal(result.ap, [1.0, np.nan])
    np.testing.assert_array_equal(result.num_targets, [1, 0])
    np.testing.assert_array_equal(result.num_predictions, [1, 1])
    assert mean_over_defects(result.ap) == 1.0


def test_a_metric_without_any_update_is_nan():
    assert np.isnan(RegionAveragePrecision(2).compute().ap).all()
    assert np.isnan(PixelAveragePrecision(2).compute()).all()


def test_the_mean_of_nothing_is_nan_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isnan(mean_over_defects(np.array([np.nan, np.nan])))
        assert np.isnan(RegionAveragePrecision(1).compute().ap[0])
        assert np.isnan(PixelAveragePrecision(1).compute()[0])


def test_diagonal_pixels_are_one_region_and_small_ones_do_not_count():
    diagonal = canvas(((0, 0), 0.9), ((1, 1), 0.9), ((9, 9), 0.9))
    for min_area, expected in ((1, 2), (2, 1), (3, 0)):
        metric = RegionAveragePrecision(1, min_area=min_area)
        metric.update(diagonal, canvas())
        assert metric.compute().num_predictions[0] == expected


def test_confidence_is_the_mean_probability_of_the_region():
    metric = RegionAveragePrecision(1)
    metric.update(canvas(((0, 0), 1.0), ((0, 1), 0.75)), canvas())
    assert metric.regions(0).confidence.tolist() == [0.875]


def test_clean_masks_as_probabilities_give_the_oracle_ceiling():
    clean = canvas((A, 1), (B, 1))
    assert region_ap_of(clean, clean) == 1.0
    shifted = canvas((A, 1), ((slice(8, 12), slice(10, 14)), 1))  # B drawn 2 off: IoU 8/24 = 1/3
    missing = canvas((A, 1))
    # Found at 0.1, 0.2, 0.3. At 0.4, 0.5 one of two: a tie with TP 1 and FP 1, 1/2 precision * 1/2 recall.
    assert region_ap_of(clean, shifted) == pytest.approx((3 * 1 + 2 * 1 / 4) / 5)
    assert region_ap_of(clean, missing) == 0.5  # an annotation forgot B


def test_thousands_of_noise_regions_are_all_counted():
    noise = np.random.default_rng(0).random((1, 1, 256, 256)) * 0.55
    target = np.zeros((1, 1, 256, 256), dtype=np.uint8)
    target[0, 0, 50:90, 50:90] = 1
    metric = RegionAveragePrecision(1)
    metric.update(noise, target)
    result = metric.compute()
    assert result.num_predictions[0] > 3000
    assert result.ap[0] == 0.0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_tensors_of_any_float_type_with_gradients(dtype):
    probabilities = torch.from_numpy(BOTH).to(dtype).requires_grad_()
    assert region_ap_of(probabilities, torch.from_numpy(BOTH).to(dtype)) == 1.0
    pixels = PixelAveragePrecision(1)
    pixels.update(probabilities, torch.from_numpy(BOTH).to(dtype))
    assert pixels.compute()[0] == 1.0


@pytest.mark.parametrize("to_target", [lambda t: t > 0, lambda t: (t * 255).astype(np.uint8), np.float64])
def test_targets_of_any_type(to_target):
    target = to_target(BOTH)
    assert region_ap_of(BOTH, target) == 1.0
    pixels = PixelAveragePrecision(1)
    pixels.update(torch.from_numpy(BOTH), torch.from_numpy(target))
    assert pixels.compute()[0] == 1.0


# What is rejected.


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_defects": 0}, "num_defects=0"),
        ({"iou_thresholds": ()}, "iou_thresholds"),
        ({"iou_thresholds": (0.0, 0.5)}, r"in \(0, 1\]"),
        ({"threshold": 1.0}, r"in \[0, 1\)"),
        ({"min_area": 0}, "min_area=0"),
    ],
)
def test_region_settings_out_of_range(settings, message):
    with pytest.raises(ValueError, match=message):
        RegionAveragePrecision(**{"num_defects": 1} | settings)


@pytest.mark.parametrize("settings", [{"num_defects": 0}, {"bins": 1}, {"limit": 0.0}])
def test_pixel_settings_out_of_range(settings):
    with pytest.raises(ValueError, match="must be at least"):
        PixelAveragePrecision(**{"num_defects": 1} | settings)


@pytest.mark.parametrize("shape", [(1, 1, 4, 4), (1, 3, 4, 4), (2, 4, 4)])
def test_other_shapes_are_rejected_rather_than_broadcast(shape):
    good = torch.zeros(1, 2, 4, 4)
    for metric in (PixelAveragePrecision(2), RegionAveragePrecision(2)):
        for pair in ((torch.zeros(shape), good), (good, torch.zeros(shape))):
            with pytest.raises(ValueError, match=r"must both be \(B, 2, H, W\)"):
                metric.update(*pair)


@pytest.mark.parametrize("value", [float("nan"), 1.5, -2.0])
def test_logits_or_nan_given_as_probabilities_are_rejected(value):
    metric = RegionAveragePrecision(1)
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        metric.update(canvas((A, value)), BOTH)
    assert metric.compute().num_targets[0] == 0


def test_nan_logits_are_rejected_and_infinite_ones_are_not():
    metric = PixelAveragePrecision(1)
    with pytest.raises(ValueError, match="NaN"):
        metric.update(torch.from_numpy(canvas((A, float("nan")))), torch.from_numpy(BOTH))
    assert metric.counts.sum() == 0
    metric.update(torch.tensor([[[[float("inf"), -float("inf")]]]]), torch.tensor([[[[1, 0]]]]))
    assert metric.compute()[0] == 1.0


# Pixel average precision.


def exact_pixel_ap(scores: np.ndarray, positive: np.ndarray) -> float:
    """Mean over positive pixels of the precision at their rank; scores without ties."""
    hits = positive[np.argsort(-scores)]
    return float((np.cumsum(hits) / np.arange(1, len(hits) + 1))[hits].mean())


def test_pixel_ap_by_hand():
    metric = PixelAveragePrecision(3)
    logits = torch.tensor([[3.0, 2, 1, 0], [3, 2, 1, 0], [5, 5, 1, 0]]).view(1, 3, 1, 4)
    target = torch.tensor([[1, 0, 1, 0], [0, 0, 0, 0], [1, 0, 0, 0]]).view(1, 3, 1, 4)
    metric.update(logits, target)
    # Precision 1 and 2/3 at the two positives; no positive; a tie of one positive and one negative.
    np.testing.assert_allclose(metric.compute(), [(1 + 2 / 3) / 2, np.nan, 0.5])


@pytest.mark.parametrize("offset", [-6.0, 0.0, 4.0])
@pytest.mark.parametrize("share", [0.001, 0.05, 0.5])
def test_pixel_ap_against_an_exact_sort(offset, share):
    rng = np.random.default_rng(3)
    target = rng.random((4, 2, 128, 128)) < share
    logits = rng.normal(offset, 2, target.shape) + target * np.array([1.0, 3.0])[None, :, None, None]
    metric = PixelAveragePrecision(2)
    for batch in (slice(0, 1), slice(1, 4)):
        metric.update(torch.from_numpy(logits[batch]), torch.from_numpy(target[batch]))
    exact = [exact_pixel_ap(logits[:, d].ravel(), target[:, d].ravel()) for d in range(2)]
    np.testing.assert_allclose(metric.compute(), exact, atol=0.005)


def test_memory_does_not_grow_with_the_pixels():
    metric = PixelAveragePrecision(2, bins=64)
    for _ in range(3):
        metric.update(torch.randn(2, 2, 32, 32), torch.rand(2, 2, 32, 32) < 0.1)
    assert metric.counts.shape == (2, 2, 64)
    assert metric.counts.sum() == 3 * 2 * 2 * 32 * 32


# Properties.

maps = st.integers(0, 2**32 - 1).map(np.random.default_rng)


def random_maps(rng: np.random.Generator, images: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Coarse random probabilities (many ties) and targets, (images, 2, 12, 12)."""
    target = rng.random((images, 2, 6, 6)) < 0.2
    coarse = np.clip(target * 0.5 + rng.integers(0, 8, target.shape) / 10, 0, 1)
    return np.kron(coarse, np.ones((2, 2))).astype(np.float32), np.kron(target, np.ones((2, 2)))


@settings(max_examples=50, deadline=None)
@given(rng=maps)
def test_both_are_in_range_and_do_not_depend_on_the_order_of_batches(rng):
    probabilities, target = random_maps(rng)
    results = []
    for order in (np.arange(4), rng.permutation(4)):
        regions, pixels = RegionAveragePrecision(2), PixelAveragePrecision(2)
        for i in order:
            regions.update(probabilities[i : i + 1], target[i : i + 1])
            pixels.update(
                torch.logit(torch.from_numpy(probabilities[i : i + 1])), torch.from_numpy(target[i : i + 1])
            )
        results.append(np.concatenate([regions.compute().ap_per_threshold.ravel(), pixels.compute()]))
    np.testing.assert_allclose(results[0], results[1], atol=1e-12)
    values = results[0][~np.isnan(results[0])]
    assert ((values >= 0) & (values <= 1 + 1e-12)).all()


@settings(max_examples=50, deadline=None)
@given(rng=maps)
def test_a_least_confident_false_alarm_never_raises_ap(rng):
    count = int(rng.integers(1, 12))
    confidence, correct = rng.integers(2, 8, count) / 10, rng.random(count) < 0.5
    before = average_precision(confidence, correct, max(1, count))
    for lowest in (confidence.min(), 0.1):  # tied with the last, and below it
        after = average_precision(np.append(confidence, lowest), np.append(correct, False), max(1, count))
        assert after <= before + 1e-12


@settings(max_examples=50, deadline=None)
@given(rng=maps)
def test_average_precision_does_not_depend_on_the_order_of_predictions(rng):
    confidence, correct = rng.integers(0, 4, 12) / 4, rng.random(12) < 0.5
    shuffled = rng.permutation(12)
    expected = average_precision(confidence, correct, 12)
    assert average_precision(confidence[shuffled], correct[shuffled], 12) == pytest.approx(expected)


@settings(max_examples=50, deadline=None)
@given(rng=maps)
def test_matching_equals_a_plain_greedy_loop(rng):
    iou = rng.random((6, 5)) * (rng.random((6, 5)) < 0.6)
    confidence, thresholds = rng.permutation(6) / 6, np.array([0.1, 0.3, 0.5])
    expected = np.zeros((6, 3), dtype=bool)
    for k, threshold in enumerate(thresholds):
        free = set(range(5))
        for region in np.argsort(-confidence):
            if not free:
                break
            t = max(free, key=iou[region].__getitem__)
            if iou[region, t] >= threshold:
                expected[region, k] = True
                free.remove(t)
    regions, targets = np.nonzero(iou)
    found = region_ap.match(confidence, regions, targets, iou[regions, targets], thresholds)
    np.testing.assert_array_equal(found, expected)


# COCO.


def random_rectangles(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """One image: a rectangle per cell of a 3 x 3 grid, some missed, some invented, (1, 1, 96, 96) each."""
    probabilities, target = np.zeros((2, 1, 1, 96, 96), dtype=np.float32)
    for y in range(2, 96, 32):
        for x in range(2, 96, 32):
            h, w = rng.integers(8, 20, 2)
            if rng.random() < 0.5:
                target[0, 0, y : y + h, x : x + w] = 1
            if rng.random() < 0.6:
                dy, dx = rng.integers(0, 6, 2)
                probabilities[0, 0, y + dy : y + dy + h, x + dx : x + dx + w] = rng.uniform(0.55, 0.99)
    return probabilities, target


def as_coco(image: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Masks (R, H, W) bool and values (R,) of an image whose regions each have a value of their own."""
    values = np.unique(image[image > 0])
    return torch.from_numpy(np.array([image == v for v in values]).reshape(-1, *image.shape)), torch.tensor(
        values
    )


def test_region_ap_against_coco():
    """Within 0.02: COCO takes the envelope at 101 recalls, here all points count."""
    pytest.importorskip("faster_coco_eval")
    detection = pytest.importorskip("torchmetrics.detection")
    thresholds = [0.1, 0.2, 0.3, 0.4, 0.5]
    coco = detection.MeanAveragePrecision(
        iou_type="segm", iou_thresholds=thresholds, backend="faster_coco_eval"
    )
    own, rng = RegionAveragePrecision(1, thresholds), np.random.default_rng(5)
    for _ in range(20):
        probabilities, target = random_rectangles(rng)
        own.update(probabilities, target)
        masks, scores = as_coco(probabilities[0, 0])
        labelled = target[0, 0] * (1 + np.arange(96)[:, None] // 32 * 3 + np.arange(96) // 32)  # one per cell
        truth, _ = as_coco(labelled)
        coco.update(
            [{"masks": masks, "scores": scores, "labels": torch.zeros(len(masks), dtype=torch.long)}],
            [{"masks": truth, "labels": torch.zeros(len(truth), dtype=torch.long)}],
        )
    expected = float(coco.compute()["map"])
    assert 0.1 < expected < 0.9
    assert own.compute().ap[0] == pytest.approx(expected, abs=0.02)


# Histograms.

LABELS = np.array([[0, 0], [0, 0], [1, 0], [0, 1], [1, 1]], dtype=bool)


def scores_of(*values: float) -> dict[str, np.ndarray]:
    column = np.array(values, dtype=np.float32)[:, None]
    return {"max": np.hstack([column, column]), "mean": np.hstack([column / 2, column / 2])}


def test_counts_sum_to_the_number_of_images_of_each_group():
    histogram = LossHistogram(["scratch", "broken"], ["max", "mean"])
    returned = histogram.add(3, scores_of(0.1, 0.2, 0.3, 0.4, 0.5), LABELS)
    histogram.add(7, scores_of(0.1, np.nan, 0.3, 0.4, np.nan), LABELS)
    assert histogram.epochs == [3, 7]
    for scheme in ("max", "mean"):
        counts = histogram.counts[scheme]
        assert counts.shape == (2, 2, 3, 96)
        assert counts.dtype == np.int64
        # Two healthy images, and the one with both defects counts twice; then without the unscored ones.
        np.testing.assert_array_equal(counts.sum(axis=3)[:, 0], [[2, 2, 2], [1, 1, 1]])
        np.testing.assert_array_equal(counts[:, 0], counts[:, 1])
        np.testing.assert_array_equal(returned[scheme], counts[0])


def test_scores_fall_into_their_bins_and_the_ends_take_the_rest():
    histogram = LossHistogram(["scratch"], ["max"], edges=[0.1, 1, 10, 100])
    scores = np.array([[0.0], [1e-30], [-1.0], [0.5], [5.0], [1e5], [np.inf], [np.nan]])
    counts = histogram.add(0, {"max": scores}, np.zeros((8, 1), dtype=bool))["max"]
    np.testing.assert_array_equal(counts[0], [[4, 1, 2], [0, 0, 0]])


def test_default_edges_are_uniform_in_the_logarithm():
    edges = LossHistogram(["scratch"], ["max"]).edges
    assert edges[[0, -1]] == pytest.approx([1e-6, 1e2])
    np.testing.assert_allclose(np.diff(np.log10(edges)), 8 / 96)


def test_a_rejected_epoch_adds_nothing():
    histogram = LossHistogram(["scratch", "broken"], ["max", "mean"])
    good = scores_of(1, 2, 3, 4, 5)
    with pytest.raises(KeyError, match="mean"):
        histogram.add(0, {"max": good["max"]}, LABELS)
    with pytest.raises(ValueError, match=r"\(N, D\)"):
        histogram.add(0, good | {"mean": good["mean"][:4]}, LABELS)
    with pytest.raises(ValueError, match=r"\(N, D\)"):
        histogram.add(0, good, LABELS[:, :1])
    assert histogram.epochs == []
    assert histogram.counts["max"].shape == (0, 2, 3, 96)


@pytest.mark.parametrize("edges", [[1.0], [1.0, 1.0], [2.0, 1.0], [[1.0, 2.0]]])
def test_edges_must_ascend(edges):
    with pytest.raises(ValueError, match="ascending"):
        LossHistogram(["scratch"], ["max"], edges=edges)


@pytest.mark.parametrize("epochs", [0, 2])
def test_save_and_load(tmp_path, epochs):
    histogram = LossHistogram(["scratch", "broken"], ["max", "mean"], edges=np.logspace(-3, 1, 9))
    for epoch in range(epochs):
        histogram.add(epoch, scores_of(0.1, 0.2, 0.3, 0.4, 0.5), LABELS)
    path = tmp_path / "histograms.npz"
    path.write_bytes(b"an older file")
    histogram.save(path)
    assert [file.name for file in tmp_path.iterdir()] == ["histograms.npz"]
    loaded = LossHistogram.load(path)
    assert (loaded.defects, loaded.schemes, loaded.epochs) == (
        histogram.defects,
        histogram.schemes,
        histogram.epochs,
    )
    np.testing.assert_array_equal(loaded.edges, histogram.edges)
    for scheme, counts in histogram.counts.items():
        np.testing.assert_array_equal(loaded.counts[scheme], counts)
    loaded.add(epochs, scores_of(1, 2, 3, 4, 5), LABELS)
    assert loaded.counts["max"].shape[0] == epochs + 1


def test_a_save_that_fails_leaves_the_older_file(tmp_path, monkeypatch):
    path = tmp_path / "histograms.npz"
    path.write_bytes(b"an older file")

    def fail(*_):
        raise OSError("no space left")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="no space"):
        LossHistogram(["scratch"], ["max"]).save(path)
    assert path.read_bytes() == b"an older file"


def test_quantiles_by_hand():
    values = quantiles(scores_of(1, 3, 5, 7, np.inf), LABELS, ["scratch", "broken"], qs=(0.5, 0.995))
    assert values["scores/max/scratch/healthy/q50"] == 2.0
    assert values["scores/mean/scratch/healthy/q50"] == 1.0
    assert values["scores/max/broken/scratch/q50"] == 5.0  # the infinite score is left out
    assert values["scores/max/scratch/broken/q99.5"] == 7.0
    assert len(values) == 2 * 2 * 3 * 2
    assert np.isfinite(list(values.values())).all()


def test_a_group_without_a_score_has_no_quantiles():
    values = quantiles(scores_of(1, 3, np.nan, 7, np.nan), LABELS, ["scratch", "broken"])
    assert "scores/max/scratch/healthy/q10" in values
    assert not any(key.split("/")[3] == "scratch" for key in values)
