"""Streams of random numbers: the words that recorded results were drawn with, generators that come back."""

import inspect
import random
import subprocess
import sys

import numpy as np
import pytest
import torch

import sbp.seeding
from sbp.seeding import Purpose, generator, generator_states, restore_generators, seed_everything, stream
from tests.conftest import ROOT

WORDS = {
    Purpose.DRAW: [7, 11],
    Purpose.SCORING: [7, 11, 1],
    Purpose.PROBE: [7, 11, 12, 2],
    Purpose.TILE_PLACE: [7, 11, 12, 13, 3],
    Purpose.TILE_ORDER: [7, 11, 4],
    Purpose.IN_BATCH: [7, 11, 12, 5],
    Purpose.LABELLING: [7, 11, 6],
    Purpose.ARRIVAL: [7, 11, 7],
    Purpose.AUGMENTATION: [7, 11, 12, 13],
    Purpose.DATA_PLAN: [7, 11],
    Purpose.DATA_IMAGE: [7, 11, 12, 1],
}


@pytest.mark.parametrize("purpose", Purpose)
def test_a_stream_is_made_of_the_words_that_recorded_results_were_drawn_with(purpose):
    keys = (11, 12, 13)[: len(purpose.keys)]
    expected = np.random.SeedSequence(WORDS[purpose]).generate_state(4)
    assert stream(7, purpose, *keys).generate_state(4).tolist() == expected.tolist()
    first = generator(7, purpose, *keys).integers(0, 2**32, 5)
    assert first.tolist() == np.random.default_rng(WORDS[purpose]).integers(0, 2**32, 5).tolist()


@pytest.mark.parametrize("purpose", Purpose)
def test_the_table_of_the_docstring_has_each_purpose(purpose):
    table = inspect.getdoc(sbp.seeding).splitlines()
    (row,) = [line for line in table if line.startswith(f"| `{purpose.name}`")]
    words = row.rstrip(" |").split("| ")[-1].split(", ")
    assert words[0].endswith("seed")
    assert words[1:] == [*purpose.keys, *map(str, purpose.value[1])]


def test_purposes_seeds_and_keys_differ():
    draws = {
        (purpose, seed, key): generator(seed, purpose, key).integers(2**62)
        for purpose in (Purpose.DRAW, Purpose.SCORING, Purpose.TILE_ORDER)
        for seed in (0, 1)
        for key in (0, 1)
    }
    assert len(set(draws.values())) == len(draws)


def test_a_wrong_number_of_keys_and_a_negative_one_are_refused():
    with pytest.raises(TypeError, match="PROBE: takes the keys epoch, repeat, got 1 of them"):
        stream(0, Purpose.PROBE, 3)
    with pytest.raises(ValueError, match="negative"):
        stream(0, Purpose.DRAW, -1)


def draw_from_all() -> list[float]:
    return [random.random(), np.random.random(), np.random.normal(), torch.rand(1).item()]  # noqa: NPY002


def test_global_generators_come_back_in_the_middle_of_a_stream(tmp_path):
    seed_everything(5)
    first = draw_from_all()
    torch.save(generator_states(), tmp_path / "states.pt")
    second = draw_from_all()
    seed_everything(5)
    assert draw_from_all() == first
    draw_from_all()
    restore_generators(torch.load(tmp_path / "states.pt", weights_only=True))
    assert draw_from_all() == second


def test_importing_it_loads_no_torch():
    code = "import sys, sbp.seeding; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
