"""Recorded results: files beside each section's claims that are kept with the code."""

import csv
from collections.abc import Sequence
from pathlib import Path

from sbp.config.paths import experiments_dir
from sbp.report.claims import ClaimResult, measured_text, rule_text
from sbp.report.results import result_row, write_rows
from sbp.report.study import judged, read_study, sections_of

VERDICTS = ("id", "source", "claim", "verdict", "rule", "measured", "part_verdict", "values")


def write_record(
    output_root: str, scale: str | None, sections: Sequence[str] | None = None, uri: str | None = None
) -> list[Path]:
    """Write experiments/<section>/results.csv, a row per run, and verdicts.csv, a row per rule.

    At a scale other than cpu the files are named results_<scale>.csv and verdicts_<scale>.csv. Returns
    what was written.
    """
    study, written = read_study(output_root, scale, uri), []
    suffix = "" if study.scale == "cpu" else f"_{study.scale}"
    for section in sections_of(study, sections):
        folder = Path(experiments_dir()) / section.name
        rows = [
            result_row(run) | {"arm": arm}
            for arm in section.arms
            for _, run in sorted(study.anywhere.get(arm, {}).items())
        ]
        verdicts = [row for result in judged(section, study) for row in verdict_rows(result)]
        for name, content in (("results", rows), ("verdicts", verdicts)):
            path = folder / f"{name}{suffix}.csv"
            write_rows(content, path)
            written.append(path)
    return written


def verdict_rows(result: ClaimResult) -> list[dict[str, str]]:
    """A claim as rows of text, one per rule; one without a rule where nothing is measured."""
    claim = result.claim
    head = {"id": claim.id, "source": claim.source, "claim": claim.text, "verdict": result.verdict}
    if not result.parts:
        return [dict.fromkeys(VERDICTS, "") | head]
    return [
        head
        | {
            "rule": rule_text(part.part),
            "measured": measured_text(part),
            "part_verdict": part.verdict,
            "values": " ".join(f"{seed}:{value:.6g}" for seed, value in sorted(part.values.items())),
        }
        for part in result.parts
    ]


def read_rows(path: str | Path) -> list[dict[str, str]]:
    """What `write_rows` wrote."""
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
