"""Tests that need Ray or SLURM: `make test-engines`."""

import pytest

from tests.conftest import ROOT

HERE = ROOT / "tests" / "engines"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.engines)
