"""`sbp evaluate`: the table that it prints, and the file that it leaves."""

import argparse
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from sbp.errors import UserError
from sbp.metrics import names
from sbp.predict import SplitReport, evaluate_checkpoint
from sbp.utils.files import write_atomically

ALL = "all"
Row = tuple[str, Sequence[str]]
"""What a line says, and its cells; no cells for a heading."""


def evaluate(arguments: argparse.Namespace) -> None:
    """Measure a split, print it, and write it to a file if asked."""
    out: Path | None = arguments.out
    if out is not None and (out.is_dir() or not out.absolute().parent.is_dir()):
        raise UserError(f"--out {out}: " + ("is a folder" if out.is_dir() else "its folder does not exist"))
    report = evaluate_checkpoint(arguments.checkpoint, arguments.split, arguments.device)
    print(text_of(report))
    if out is not None:
        write_atomically(out, json.dumps(as_values(report, arguments.checkpoint), indent=1) + "\n")
        print(f"all of it in {out}")


def text_of(report: SplitReport) -> str:
    """The table, a column per defect, between what was measured and how to read thresholds."""
    rows: list[Row] = [("", [*report.defects, ALL]), *_quality(report)]
    for recall in names.RECALLS:
        rows += [("", ()), (f"At recall {recall:g}", ()), *_own_point(report, recall)]
        if report.chosen:
            rows += [("by the threshold of the validation split", ()), *_chosen_point(report, recall)]
    first = max(len(label) for label, _ in rows)
    widths = [max(len(name), len("12.345")) for name in rows[0][1]]
    lines = [_line(label, cells, first, widths) for label, cells in rows]
    return "\n".join([_heading(report), "", *lines, "", *_explanation(report)])


def as_values(report: SplitReport, checkpoint: Path) -> dict[str, object]:
    """The report as plain values; null where there is no number, and where no threshold reaches a recall."""
    return {
        "checkpoint": str(checkpoint),
        "split": report.split,
        "images": report.images,
        "evaluation.threshold": report.config.evaluation.threshold,
        "metrics": {key: _finite(value) for key, value in report.metrics.items()},
        "by_validation_threshold": [
            {key: _finite(value) for key, value in vars(point).items()} for point in report.chosen
        ],
    }


def _finite(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _heading(report: SplitReport) -> str:
    healthy, alike = (
        report.metrics.get(names.of_split(report.split, name), 0.0)
        for name in (names.HEALTHY_IMAGES, names.LOOKALIKE_IMAGES)
    )
    of_these = f", of which {alike:.0f} are look-alikes" if alike else ""
    return f"{report.split} split: {report.images} images, {healthy:.0f} without a defect{of_these}"


def _quality(report: SplitReport) -> Iterator[Row]:
    shown = {
        "mAP": "map",
        "mAP by true masks": "clean_map",
        "pixel AP": "pixel_ap",
        "loss": "loss",
        "highest recall": names.MAX_RECALL,
        **{f"  of {size} regions": names.recall_of(size) for size in names.SIZES},
    }
    for label, name in shown.items():
        if names.of_split(report.split, name) in report.metrics:
            yield label, _measured(report, name)


def _own_point(report: SplitReport, recall: float) -> Iterator[Row]:
    for label, name in _ALARMS.items():
        key = names.at_recall(name, recall)
        if names.of_split(report.split, key) in report.metrics:
            yield label, _measured(report, key)
    yield "  threshold", [*_measured(report, names.threshold_for(recall))[:-1], ""]


def _chosen_point(report: SplitReport, recall: float) -> Iterator[Row]:
    points = [point for point in report.chosen if point.recall == recall]
    yield "  threshold", [*(_number(point.threshold) for point in points), ""]
    yield "  recall that it gives", [*(_number(point.reached) for point in points), ""]
    for label, name in _ALARMS.items():
        if names.of_split(report.split, names.at_recall(name, recall)) in report.metrics:
            yield label, [*(_number(getattr(point, name)) for point in points), ""]


_ALARMS = {
    "  false regions per healthy image": names.FALSE_REGIONS,
    "  false regions per look-alike": names.LOOKALIKE_FALSE_REGIONS,
}


def _measured(report: SplitReport, name: str) -> list[str]:
    """A metric of every defect, and of all."""
    keys = [names.of_split(report.split, name, defect) for defect in (*report.defects, None)]
    return [_number(report.metrics.get(key, math.nan)) for key in keys]


def _number(value: float) -> str:
    return "-" if math.isnan(value) else "never" if math.isinf(value) else f"{value:.3f}"


def _line(label: str, cells: Sequence[str], first: int, widths: Sequence[int]) -> str:
    parts = (f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=False))
    return "  ".join([f"{label:{first}}", *parts]).rstrip()


def _explanation(report: SplitReport) -> list[str]:
    pixel = report.config.evaluation.threshold
    lines = [
        "all: the mean over defects, but the lowest of the highest recalls.",
        "never: no threshold reaches that recall; -: nothing to measure.",
        f"A threshold is one of regions (where the probability is above {pixel:g}): of the mean in a region.",
        "It is not `sbp predict --threshold`, above which single pixels are drawn.",
    ]
    if report.chosen:
        lines.append("What is to be expected of new images is what the validation split's threshold gives.")
    return lines
