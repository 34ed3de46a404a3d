"""The table of false alarms, and what of them is recorded."""

import numpy as np

from sbp.report.documents import markdown_table
from sbp.report.false_alarms import false_alarm_tables
from sbp.report.results import result_row
from sbp.tracking.runs import RecordedRun

PARAMS = {
    "seed": "0", "scale": "cpu", "label": "an arm", "budget.compute": "8.0", "data.image_size": "64",
    "data.defects": "['scratch', 'broken']", "data.common": "['scratch']", "data.rare": "['broken']",
}  # fmt: skip
LABELS = {"a": "A", "b": "B"}


def run(scratch: float | None, broken: float | None, lookalikes: bool = True) -> RecordedRun:
    """Of 4 epochs; false regions per healthy image at recall 0.5, None where it is not reached."""
    of = {"scratch": scratch, "broken": broken}
    reached = [value for value in of.values() if value is not None]
    of[""] = sum(reached) / 2 if len(reached) == 2 else None
    values = {"test/images/healthy": 20.0} | ({"test/images/lookalike": 4.0} if lookalikes else {})
    for defect, value in of.items():
        end = f"/{defect}" if defect else ""
        values[f"test/max_recall{end}"] = 0.4 if value is None else 0.7
        values[f"test/recall/small{end}"] = 0.25
        if value is not None:
            values[f"test/false_regions/r50{end}"] = value
            if lookalikes:
                values[f"test/lookalike_false_regions/r50{end}"] = 10 * value
    metrics = {key: (np.array([3]), np.array([value])) for key, value in values.items()}
    metrics["train/loss"] = (np.arange(4), np.ones(4))
    return RecordedRun("id", "name", "FINISHED", PARAMS, {}, metrics)


def cells(table, row: int) -> dict[str, str]:
    return dict(zip(table.columns, map(str, table.rows[row]), strict=True))


def test_a_seed_that_does_not_reach_the_recall_is_counted_and_not_averaged():
    arms = {"a": {0: run(0.1, 0.5), 1: run(0.3, None), 2: run(0.2, None)}}
    (table,) = false_alarm_tables(arms, LABELS, 3)
    scratch, broken, both = (cells(table, row) for row in range(3))
    assert (scratch["run"], scratch["seeds"], scratch["defect"]) == ("A", "3", "scratch")
    assert scratch["per healthy image at recall 0.5"] == "0.200 (0.100 to 0.300)"
    assert scratch["per look-alike at recall 0.5"] == "2.000 (1.000 to 3.000)"
    assert scratch["of small ones"] == "0.250"
    assert broken["per healthy image at recall 0.5"] == "0.500, 1 of 3 seeds"
    assert both["defect"] == "all"
    assert both["per healthy image at recall 0.5"] == "0.300, 1 of 3 seeds"
    assert both["highest recall"] == "0.500 (0.400 to 0.700)"
    assert both["per healthy image at recall 0.8"] == "not reached"


def test_arms_without_such_metrics_have_no_row_and_their_section_no_table():
    before = RecordedRun("id", "n", "FINISHED", PARAMS, {}, {"test/map": (np.array([3]), np.array([0.4]))})
    assert false_alarm_tables({"a": {0: before}, "b": {}}, LABELS, 1) == []
    (table,) = false_alarm_tables({"a": {0: before}, "b": {0: run(0.1, 0.1)}}, LABELS, 1)
    assert [row[0] for row in table.rows] == ["B"] * 3


def test_look_alikes_have_columns_only_where_the_data_set_names_some():
    (table,) = false_alarm_tables({"a": {0: run(0.1, 0.2, lookalikes=False)}}, LABELS, 1)
    assert "look-alike" not in markdown_table(table).split("*")[0]


def test_a_row_holds_false_regions_and_is_blank_where_the_recall_is_not_reached():
    row = result_row(run(0.1, None))
    assert row["test/false_regions/r50/scratch"] == "0.1"
    assert row["test/lookalike_false_regions/r50/scratch"] == "1"
    assert row["test/max_recall/broken"] == "0.4"
    assert row["test/images/healthy"] == "20"
    assert "test/false_regions/r50/broken" not in row
