"""What the fault tests share: the undisturbed run, and the table of faults at the end."""

from collections import defaultdict
from pathlib import Path

import pytest

from tests.faults.harness import Victim

_tally: dict[str, list[int]] = defaultdict(lambda: [0, 0])


class Tally:
    """Counts of one fault: tried, survived."""

    def __init__(self, name: str):
        self.name = name

    def tried(self, count: int = 1) -> None:
        _tally[self.name][0] += count

    def survived(self, count: int = 1) -> None:
        _tally[self.name][1] += count


@pytest.fixture
def fault():
    """fault(name): where a test counts what it did, and what was well afterwards."""
    return Tally


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory) -> Path:
    """The output folder of the run that nothing happened to."""
    output = tmp_path_factory.mktemp("undisturbed")
    victim = Victim.start(output)
    assert victim.wait() == 0, victim.log.read_text()
    return output


def pytest_terminal_summary(terminalreporter) -> None:
    if not _tally:
        return
    terminalreporter.section("faults")
    terminalreporter.write_line("| fault | tried | survived |")
    terminalreporter.write_line("|---|---|---|")
    for name, (tried, survived) in _tally.items():
        terminalreporter.write_line(f"| {name} | {tried} | {survived} |")
