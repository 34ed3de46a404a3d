"""What a scoring pass costs: the arithmetic of claim C8, and that both kinds of images are really timed."""

import pytest

from experiments.bench import scoring_ratio
from experiments.bench.scoring_ratio import decoding_for, epoch_length, measured


def test_an_epoch_is_what_is_trained_on_and_what_is_scored():
    assert epoch_length(0.25, kept=1 / 9) == pytest.approx(0.25 + 1 / 9)
    assert epoch_length(8 / 9, kept=1 / 9) == pytest.approx(1.0)


@pytest.mark.parametrize("ratio", [0.2, 1 / 3])
def test_images_that_cost_so_much_to_decode_make_the_epoch_so_long(ratio):
    """With decoding, scoring costs ratio + d of a training pass of 1 + d."""
    d = decoding_for(0.8, ratio)
    assert epoch_length((ratio + d) / (1 + d)) == pytest.approx(0.8)
    assert decoding_for(0.9, ratio) > d > 0


@pytest.mark.parametrize("decoded", [False, True])
def test_both_passes_are_over_the_same_images(decoded, tmp_path, monkeypatch):
    monkeypatch.setenv("SBP_OUTPUT", str(tmp_path))
    monkeypatch.setattr(scoring_ratio, "PIXELS", 32 * 32 * 24)
    passes = measured(32, decoded, repetitions=1)
    assert 16 <= passes.images <= 24
    assert passes.training_s > 0
    assert passes.scoring_s > 0
    assert passes.flops_ratio == pytest.approx(1 / 3, abs=0.01)
    row = passes.row()
    assert row["images"] == ("decoded in each pass" if decoded else "in memory")
    assert float(row["epoch"]) == pytest.approx(1 / 9 + passes.ratio, abs=0.01)
