"""The table of who gets where, and how much sooner."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from sbp.report.documents import markdown_table
from sbp.report.section_file import SectionFile, Target
from sbp.report.sections import Section
from sbp.report.speed import speed_tables

ROLES = {"common": "scratch", "rare": "broken"}


@dataclass
class Run:
    """A run validated after each baseline epoch, which takes ten seconds; test mAP of A and B at its end."""

    a: tuple[float, ...]
    b: tuple[float, ...]
    tags: ClassVar[dict[str, str]] = {}

    def series(self, key):
        epochs = np.arange(len(self.a))
        known = {
            "val/map/scratch": (epochs, self.a),
            "val/map/broken": (epochs, self.b),
            "cost/baseline_epochs": (epochs, epochs + 1.0),
            "time/work_s": (epochs, 10.0 * (epochs + 1)),
            "test/map/scratch": (epochs[-1:], self.a[-1:]),
            "test/map/broken": (epochs[-1:], self.b[-1:]),
        }
        return known.get(key, (np.empty(0), np.empty(0)))


SLOW = Run((0.0, 0.1, 0.2, 0.2), (0.0, 0.0, 0.0, 0.01))
FAST = Run((0.2, 0.3, 0.3, 0.3), (0.0, 0.1, 0.2, 0.3))
FLAT = Run((0.1, 0.1, 0.1, 0.1), (0.0, 0.0, 0.0, 0.0))


def tables(runs, *targets: Target, budgets=("short",)):
    file = SectionFile("Title", "Question?", targets=list(targets))
    section = Section("section", "experiment", ("slow", "fast"), budgets, False, Path(), file)
    labels = {key: key.upper() for key in ("slow", "fast", "slow@long", "fast@long")}
    return speed_tables(section, runs, labels, ROLES)


def cells(table, row: int) -> list[str]:
    return [str(cell) for cell in table.rows[row]]


TO_A = Target("slow", "val/map/{common}")


def test_each_arm_is_timed_to_where_another_one_ends():
    """The slow arm is where it ends after 3 of its 4 epochs, the fast one after the first."""
    (table,) = tables({"slow": {0: SLOW}, "fast": {0: FAST}}, TO_A)
    assert table.columns == [
        "short budget", "seeds", "test scratch", "test broken", "until the SLOW's scratch (0.20)",
    ]  # fmt: skip
    assert cells(table, 0) == ["SLOW", "1 of 1", "0.200", "0.010", "3 epochs, 30 s, 1.0x"]
    assert cells(table, 1) == ["FAST", "1 of 1", "0.300", "0.300", "1 epochs, 10 s, 3.0x"]


def test_a_seed_that_never_gets_there_counts_as_infinitely_late():
    slow = dict.fromkeys(range(3), SLOW)
    (most,) = tables({"slow": slow, "fast": {0: FAST, 1: FAST, 2: FLAT}}, TO_A)
    assert cells(most, 1)[-1] == "1 epochs, 10 s, 3.0x (2 of 3 seeds)"
    (few,) = tables({"slow": slow, "fast": {0: FAST, 1: FLAT, 2: FLAT}}, TO_A)
    assert cells(few, 1)[-1] == "not reached (1 of 3 seeds)"


def test_nobody_is_timed_to_where_nothing_was_learned():
    (table,) = tables({"slow": {0: SLOW}, "fast": {0: FAST}}, Target("slow", "val/map/{rare}"))
    assert [row[-1] for row in table.rows] == ["–", "–"]


def test_every_budget_has_a_table_of_its_own_runs():
    runs = {"slow": {0: SLOW}, "fast": {0: FAST}, "slow@long": {0: SLOW}, "fast@long": {0: SLOW}}
    short, long = tables(runs, TO_A, budgets=("short", "long"))
    assert (short.columns[0], long.columns[0]) == ("short budget", "long budget")
    assert cells(long, 1)[-1] == "3 epochs, 30 s, 1.0x"


def test_an_arm_that_lacks_seeds_says_so():
    (table,) = tables({"slow": {0: SLOW, 1: SLOW, 2: SLOW}, "fast": {1: FAST}}, TO_A)
    assert [row[1] for row in table.rows] == ["3 of 3", "1 of 3"]
    assert "| FAST | 1 of 3 |" in markdown_table(table)


def test_runs_that_are_not_there_yet_leave_their_cells_empty():
    (table,) = tables({"fast": {0: FAST}}, TO_A)
    assert cells(table, 0)[2:] == ["–", "–", "–"]


def test_without_targets_or_runs_there_is_no_table():
    assert tables({"slow": {0: SLOW}, "fast": {0: FAST}}) == []
    assert tables({}, TO_A) == []
    assert len(tables({"slow": {0: SLOW}}, TO_A, budgets=("short", "long"))) == 1
