"""What parallel and low-resolution scoring are measured by: the arithmetic, and that both sides are timed."""

import numpy as np
import pytest

from experiments.bench import low_resolution
from experiments.bench.low_resolution import top_found
from experiments.bench.parallel_scoring import Seconds, ideal, run


def test_ideally_a_pass_costs_only_what_is_longer_than_the_training_beside_it():
    long_passes = Seconds(wall=0, scoring=[3.0, 3.0], training=[1.0, 1.0])
    assert ideal(long_passes, age=1) == pytest.approx(2 * 3.0)
    assert ideal(long_passes, age=2) == pytest.approx(2 * 2.0)
    one_short = Seconds(wall=0, scoring=[0.5, 0.0, 0.0], training=[1.0, 1.0, 1.0])
    assert ideal(one_short, age=1) == pytest.approx(3.0)


def test_of_the_largest_scores_the_share_that_is_among_the_largest_of_the_others():
    full = np.arange(20.0)
    assert top_found(full, full) == 1.0
    assert top_found(full, -full) == 0.0
    swapped = full.copy()
    swapped[[19, 3]] = swapped[[3, 19]]  # one of the two largest is lost
    assert top_found(full, swapped) == 0.5


@pytest.mark.slow
@pytest.mark.parametrize("beside", [(), ("scoring.parallel=process",)])
def test_the_same_epochs_are_timed_on_both_sides(beside, tmp_path, monkeypatch):
    monkeypatch.setenv("SBP_OUTPUT", str(tmp_path))
    seconds = run("every_epoch", 2, [*beside, "scale.train_images=24", "data.image_size=32"])
    assert len(seconds.scoring) == len(seconds.training) == 2
    assert seconds.wall >= sum(seconds.training) > 0


@pytest.mark.slow
def test_full_resolution_against_itself_finds_everything(tmp_path, monkeypatch):
    from experiments.bench.setup import trainer_with

    monkeypatch.setenv("SBP_OUTPUT", str(tmp_path))
    trainer = trainer_with("data.image_size=32", images=40)
    same = low_resolution.row(trainer, 1.0, repetitions=1)
    assert same["rank correlation"] == "1.000"
    assert same["top tenth found"] == "100%"
    half = low_resolution.row(trainer, 0.5, repetitions=1)
    assert float(half["rank correlation"]) < 1
