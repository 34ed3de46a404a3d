"""What real runs log, beside the table of metrics: no key that it lacks, and none in it that nobody logs."""

import itertools
import json
import re
from pathlib import Path

import pytest

from sbp.metrics.names import KNOWN_KINDS, LOOKALIKES, METRICS, TRUE_MASKS, Metric
from sbp.steps import run
from sbp.utils.progress import Progress
from tests.conftest import make_config

EVERYTHING = ("beta=b2", "gradients.every=1", "gradients.batch=8", "evaluation.test=true")
LITTLE = ("selection=none",)
GUARDED = (
    "selection=stratified", "staleness=reuse", "guard=dynamics", "guard.min_selected=1",
    "guard.remaining=0.0", "data.missing_annotations=0.5",
)  # fmt: skip

CLASSES = ("data=mnist_small", "beta=b2")
ROUNDS = ("labelling.by=random", "labelling.round=1", "labelling.start=20", "labelling.images=10")
LATE = ("arrival.defect=broken", "data.rare_share=0.1")
RUNS = (EVERYTHING, LITTLE, GUARDED, ROUNDS, LATE, CLASSES)


def logged(folder: Path, *overrides: str) -> set[str]:
    """All keys of a run on generated data."""
    small = () if overrides == CLASSES else ("model.encoder_depth=3", "model.decoder_channels=[16,8,8]")
    common = ("budget.compute=2", *small)
    config = make_config(*common, *overrides, f"output_root={folder}", run_dir=str(folder / "run"))
    keys = set(run(config, {}, {}, Progress()))
    for line in (folder / "run" / "epochs.jsonl").read_text().splitlines():
        keys |= json.loads(line).keys() - {"epoch"}
    for line in (folder / "run" / "tracking.jsonl").read_text().splitlines():
        entry = json.loads(line)
        keys |= set(entry["values"]) if entry["kind"] == "metrics" else set()
    return keys


def forms(metric: Metric) -> list[str]:
    """Patterns of all keys that a template stands for: with and without [...], each of <a|b>."""
    texts = [re.sub(r"\[.*\]", "", metric.key), metric.key.replace("[", "").replace("]", "")]
    result = []
    for text in dict.fromkeys(texts):
        parts = re.split(r"<([^>]*)>", text)
        choices = [part.split("|") if "|" in part else ["[^/]+"] for part in parts[1::2]]
        for chosen in itertools.product(*choices):
            words = itertools.chain.from_iterable(zip(parts[::2], [*chosen, ""], strict=True))
            result.append("".join(words))
    return result


@pytest.fixture(scope="module")
def keys(tmp_path_factory) -> dict[tuple[str, ...], set[str]]:
    return {overrides: logged(tmp_path_factory.mktemp("run"), *overrides) for overrides in RUNS}


def entries(key: str) -> list[Metric]:
    """What the table says about a logged key; a line that names it stands before one for any name."""
    found = [metric for metric in METRICS if any(re.fullmatch(form, key) for form in forms(metric))]
    return [metric for metric in found if key in forms(metric)] or found


@pytest.mark.parametrize("overrides", RUNS)
def test_every_key_that_a_run_logs_is_in_the_table_once(keys, overrides):
    assert len(keys[overrides]) > 40
    assert {key: len(entries(key)) for key in keys[overrides] if len(entries(key)) != 1} == {}


def test_every_key_of_the_table_is_logged(keys):
    for metric in METRICS:
        for form in forms(metric):
            assert any(re.fullmatch(form, key) for run in keys.values() for key in run), form


def test_what_needs_an_option_is_not_logged_without_it(keys):
    known = {metric for metric in METRICS if metric.needs in ("", TRUE_MASKS, LOOKALIKES, KNOWN_KINDS)}
    assert {metric for key in keys[LITTLE] for metric in entries(key)} == known
