"""Results do not change unless somebody says so: final weights of a run of every method are held."""

import itertools
import json

import pytest

from sbp.run.results_version import RESULTS_VERSION
from tests.run.golden import FILE, cases, distance, name_of, project

GOLDEN = json.loads(FILE.read_text())
TOLERANCE = 0.015  # twice what another instruction set of the processor makes of it
TOLERANCES = {"optimizer=adamw": 0.3}  # Adam follows the sign of gradients that are nearly zero
MEND = "if this is meant, raise RESULTS_VERSION in sbp/run/results_version.py; then: make golden"


QUICK = {"defaults", "selection=per_defect", "staleness=stale_smart staleness.every=2"}
QUICK |= {"aggregation=topk_mean", "loss=focal", "optimizer=adamw", "upsampling=rare"}
"""One of each registry: the rest takes a minute."""


def marked(case: tuple[str, ...]):
    return pytest.param(case, marks=[] if name_of(case) in QUICK else pytest.mark.slow, id=name_of(case))


@pytest.mark.parametrize("case", map(marked, cases()))
def test_the_final_weights_are_those_that_were_recorded(case, toy_data):
    name = name_of(case)
    assert GOLDEN["results_version"] == RESULTS_VERSION, (
        "the golden values are of another version: make golden"
    )
    assert name in GOLDEN["runs"], "a new option has no golden value: make golden"
    assert distance(project(case, toy_data), GOLDEN["runs"][name]) < TOLERANCES.get(name, TOLERANCE), (
        f"{name} changed; {MEND}"
    )


def test_the_quick_runs_are_some_of_them():
    assert {name_of(case) for case in cases()} > QUICK


def test_the_tolerance_tells_methods_apart():
    """Methods that differ are further apart than what is tolerated between machines."""
    runs = [values for name, values in GOLDEN["runs"].items() if name not in TOLERANCES]
    assert min(distance(a, b) for a, b in itertools.combinations(runs, 2)) > 2 * TOLERANCE
