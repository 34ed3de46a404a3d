"""Average precision against hand-computed and independent values; histograms that add up."""

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
)
from sbp.metrics.region_ap import average_precision


def scene(*boxes: tuple[int, int, int, int, float], size: int = 20) -> np.ndarray:
    """(1, 1, size, size) with boxes (top, left, height, width, value)."""
    image = np.zeros((1, 1, size, size), dtype=np.float32)
    for top, left, height, width, value in boxes:
        image[0, 0, top : top + height, left : left + width] = value
    return image


def region_ap(predictions, targets, **arguments):
    metric = RegionAveragePrecision(1, **arguments)
    for prediction, target in zip(predictions, targets, strict=True):
        metric.update(prediction, target)
    return metric.compute()


TARGET = scene((2, 2, 4, 4, 1))


def test_a_perfect_prediction_scores_one():
    assert region_ap([scene((2, 2, 4, 4, 0.9))], [TARGET]).ap.tolist() == [1.0]


def test_a_missed_region_halves_the_recall():
    both = scene((2, 2, 4, 4, 1), (12, 12, 4, 4, 1))
    assert region_ap([scene((2, 2, 4, 4, 0.9))], [both]).ap.tolist() == [0.5]


def test_a_false_alarm_costs_only_if_it_is_surer_than_the_find():
    below = scene((2, 2, 4, 4, 0.9), (12, 12, 3, 3, 0.6))
    above = scene((2, 2, 4, 4, 0.6), (12, 12, 3, 3, 0.9))
    assert region_ap([below], [TARGET]).ap.tolist() == [1.0]
    assert region_ap([above], [TARGET]).ap.tolist() == [0.5]


def test_a_false_alarm_on_a_healthy_image_counts_too():
    healthy = scene()
    result = region_ap([scene((2, 2, 4, 4, 0.6)), scene((5, 5, 3, 3, 0.9))], [TARGET, healthy])
    assert result.ap.tolist() == [0.5]
    assert (result.num_targets.tolist(), result.num_predictions.tolist()) == ([1], [2])


def test_a_second_prediction_of_the_same_region_is_a_false_alarm():
    split = scene((2, 2, 4, 1, 0.9), (2, 4, 4, 2, 0.8))  # the left strip has IoU 0.25, the right one 0.5
    result = region_ap([split], [TARGET], iou_thresholds=(0.2, 0.4))
    assert result.ap_per_threshold.tolist() == [[1.0, 0.5]]


def test_the_thresholds_are_averaged():
    shifted = scene((2, 4, 4, 4, 0.9))  # overlap 8 of 24 pixels
    result = region_ap([shifted], [TARGET], iou_thresholds=(0.1, 0.3, 0.5))
    assert result.ap_per_threshold.tolist() == [[1.0, 1.0, 0.0]]
    assert result.ap[0] == pytest.approx(2 / 3)


def test_ties_are_one_operating_point_whatever_their_order():
    confidence = np.array([0.9, 0.9, 0.9, 0.5])
    for correct in ([1, 0, 0, 1], [0, 1, 0, 1], [0, 0, 1, 1]):
        assert average_precision(confidence, np.array(correct, bool), 2) == pytest.approx(0.5)


def test_a_defect_without_target_is_nan_and_stays_out_of_the_mean():
    metric = RegionAveragePrecision(2)
    metric.update(
        np.concatenate([TARGET * 0.9, TARGET * 0.9], axis=1), np.concatenate([TARGET, 0 * TARGET], axis=1)
    )
    ap = metric.compute().ap
    assert ap[0] == 1.0
    assert np.isnan(ap[1])
    assert mean_over_defects(ap) == 1.0
    assert np.isnan(mean_over_defects(np.array([np.nan])))


def test_specks_below_the_smallest_area_are_no_predictions():
    noisy = scene((2, 2, 4, 4, 0.8), (10, 10, 1, 2, 0.99))
    assert region_ap([noisy], [TARGET]).ap.tolist() == [0.5]
    assert region_ap([noisy], [TARGET], min_area=3).ap.tolist() == [1.0]


def test_clean_masks_as_predictions_give_the_ceiling():
    assert region_ap([TARGET], [TARGET]).ap.tolist() == [1.0]
    assert region_ap([TARGET], [scene((2, 2, 4, 4, 1), (12, 2, 4, 4, 1))]).ap.tolist() == [0.5]


def test_region_ap_agrees_with_coco():
    pytest.importorskip("faster_coco_eval")
    from torchmetrics.detection import MeanAveragePrecision

    rng = np.random.default_rng(0)
    ours = RegionAveragePrecision(1, iou_thresholds=(0.3, 0.5))
    coco = MeanAveragePrecision(iou_type="segm", iou_thresholds=[0.3, 0.5], backend="faster_coco_eval")
    for _ in range(60):
        columns = rng.permutation(4)[: rng.integers(1, 4)] * 12
        target, probability = scene(size=48), scene(size=48)
        predictions, targets = [], []
        for left in columns:  # one box per column, so that regions never touch
            top = int(rng.integers(0, 30))
            box = scene((top, left + 1, 8, 8, 1), size=48)
            if not targets or rng.random() < 0.8:  # torchmetrics drops images without any target
                target += box
                targets.append(box[0, 0] > 0)
            if rng.random() < 0.8:
                value = float(rng.uniform(0.55, 1.0))
                moved = scene((top + int(rng.integers(0, 6)), left + 1, 8, 8, value), size=48)
                probability += moved
                predictions.append((moved[0, 0] > 0, value))
        ours.update(probability, target)
        labels = torch.zeros
        coco.update(
            [
                {
                    "masks": torch.tensor(np.array([m for m, _ in predictions]).reshape(-1, 48, 48)),
                    "scores": torch.tensor([v for _, v in predictions]),
                    "labels": labels(len(predictions), dtype=torch.int64),
                }
            ],
            [
                {
                    "masks": torch.tensor(np.array(targets).reshape(-1, 48, 48)),
                    "labels": labels(len(targets), dtype=torch.int64),
                }
            ],
        )
    assert ours.compute().ap[0] == pytest.approx(float(coco.compute()["map"]), abs=0.02)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.floats(0.01, 1.0), st.booleans()), min_size=1, max_size=30), st.integers(1, 40))
def test_average_precision_is_a_share_and_a_last_false_alarm_never_helps(predictions, extra):
    confidence = np.array([c for c, _ in predictions])
    correct = np.array([ok for _, ok in predictions])
    targets = int(correct.sum()) + extra
    value = average_precision(confidence, correct, targets)
    assert 0 <= value <= 1
    worse = average_precision(np.append(confidence, 0.001), np.append(correct, False), targets)
    assert worse == pytest.approx(value)
    shuffled = np.random.default_rng(0).permutation(len(confidence))
    assert average_precision(confidence[shuffled], correct[shuffled], targets) == pytest.approx(value)


def exact_pixel_ap(score: np.ndarray, positive: np.ndarray) -> float:
    order = np.argsort(-score)
    found = np.cumsum(positive[order])
    return float((found / np.arange(1, len(score) + 1))[positive[order]].sum() / positive.sum())


def test_pixel_ap_is_close_to_the_exact_value_in_any_batches():
    rng = np.random.default_rng(0)
    target = rng.random((6, 2, 40, 40)) < 0.03
    logits = (rng.normal(-4, 2, target.shape) + 3 * target).astype(np.float32)
    whole, parts = PixelAveragePrecision(2), PixelAveragePrecision(2)
    whole.update(torch.from_numpy(logits), torch.from_numpy(target))
    for i in (4, 0, 2):
        parts.update(torch.from_numpy(logits[i : i + 2]), torch.from_numpy(target[i : i + 2]))
    exact = [exact_pixel_ap(logits[:, d].ravel(), target[:, d].ravel()) for d in range(2)]
    np.testing.assert_allclose(whole.compute(), exact, atol=0.005)
    assert (whole.compute() == parts.compute()).all()


def test_pixel_ap_of_a_defect_without_pixels_is_nan():
    metric = PixelAveragePrecision(1)
    metric.update(torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 4))
    assert np.isnan(metric.compute()).all()


LABELS = np.array([[0, 0], [0, 0], [1, 0], [0, 1], [1, 1]], dtype=bool)
SCORES = np.array([[0.1, 0.2], [0.3, 0.1], [2.0, 0.1], [0.1, 5.0], [np.nan, np.nan]])


def test_histograms_count_every_scored_image_in_each_of_its_groups(tmp_path):
    histogram = LossHistogram(("scratch", "broken"), ("max",), edges=np.array([1e-3, 1.0, 3.0]))
    histogram.add(4, {"max": SCORES}, LABELS)
    scratch, broken = histogram.counts["max"][0]
    assert scratch.tolist() == [
        [2, 0],
        [0, 1],
        [1, 0],
    ]  # healthy, scratch, broken; the last image is unscored
    assert broken.tolist() == [[2, 0], [1, 0], [0, 1]]  # 5 nats fall into the last bin
    histogram.save(tmp_path / "h.npz")
    loaded = LossHistogram.load(tmp_path / "h.npz")
    assert loaded.epochs == [4]
    assert loaded.defects == ("scratch", "broken")
    assert (loaded.counts["max"] == histogram.counts["max"]).all()


def test_quantiles_are_per_scheme_defect_and_group():
    values = quantiles({"max": SCORES}, LABELS, ("scratch", "broken"))
    assert values["scores/max/scratch/healthy/q50"] == pytest.approx(0.2)
    assert values["scores/max/broken/broken/q90"] == pytest.approx(5.0)
    assert all(np.isfinite(v) for v in values.values())
