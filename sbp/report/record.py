"""Recorded results: files beside each section's claims that are kept with the code."""

from collections.abc import Sequence
from pathlib import Path

from sbp.report.claims import ClaimResult, measured_text, rule_text
from sbp.report.results import result_row, write_rows
from sbp.report.sections import chosen_sections
from sbp.report.study import judged, read_study

VERDICTS = ("id", "source", "claim", "verdict", "rule", "measured", "part_verdict", "values")


def write_record(
    output_root: str,
    scale: str | None,
    sections: Sequence[str] | None = None,
    uri: str | None = None,
    experiment: str = "sbp",
) -> list[Path]:
    """Write results.csv, a row per run, and verdicts.csv, a row per rule, beside each section's claims.

    At a scale other than cpu the files are named results_<scale>.csv and verdicts_<scale>.csv. Returns what
    was written.
    """
    study, written = read_study(output_root, scale, sections, uri, experiment), []
    suffix = "" if study.scale == "cpu" else f"_{study.scale}"
    for section in chosen_sections(sections):
        arms = study.arms_of(section)
        rows = [
            result_row(run) | {"arm": arm} for arm, runs in arms.items() for _, run in sorted(runs.items())
        ]
        verdicts = [row for result in judged(section, study) for row in verdict_rows(result)]
        for name, content in (("results", rows), ("verdicts", verdicts)):
            if content:
                path = section.folder / f"{name}{suffix}.csv"
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
