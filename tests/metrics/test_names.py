"""The table of metrics as docs/metrics.md shows it."""

from sbp.metrics.names import METRICS, markdown_table
from tests.conftest import ROOT


def test_the_table_has_a_row_per_metric_with_its_meaning():
    head, rule, *rows = markdown_table().splitlines()
    assert head.count("|") == rule.count("|") == 4
    assert len(rows) == len(METRICS)
    for row, metric in zip(rows, METRICS, strict=True):
        assert row.replace(r"\|", "").count("|") == 4
        assert metric.meaning in row
        assert row.endswith(f"| {metric.needs} |")
    (row,) = [row for row in rows if "region-level" in row]
    assert row.startswith(r"| `<val\|test>/map`, `<val\|test>/map/<defect>` | region-level")


def test_the_document_has_the_table_of_the_code():
    assert markdown_table() in (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8"), "run: make docs"
