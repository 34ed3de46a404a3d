"""Recorded results: files beside each section's claims that are kept with the code."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from sbp.report.claims import ClaimResult, measured_text, rule_text
from sbp.report.documents import markdown_table, plain
from sbp.report.recorded import outdated_text, suffix_of
from sbp.report.recorded_curves import curve_rows
from sbp.report.results import read_rows, result_row, write_rows
from sbp.report.section_pages import judged, labels_of
from sbp.report.sections import Section
from sbp.report.speed import speed_tables
from sbp.report.study import Study, defect_roles, read_study, reported_sections
from sbp.utils.files import write_atomically

VERDICTS = ("id", "source", "claim", "verdict", "rule", "measured", "part_verdict", "values")


def write_record(
    output_root: str,
    scale: str | None,
    sections: Sequence[str] | None = None,
    uri: str | None = None,
    experiment: str = "sbp",
    version: str | None = None,
    say: Callable[[str], None] = print,
) -> list[Path]:
    """Write results.csv, a row per run, curves.csv, a row per run and epoch, verdicts.csv, a row per rule,
    and speed.md where there are targets, beside each section's claims; sections without runs are left as they
    are.

    What the files hold is what the store holds: `import_recorded` first keeps what others recorded. At a
    scale other than cpu the files are named results_<scale>.csv and so on. version: see `read_study`. say:
    told how many rows of other results versions went. Returns what was written.
    """
    study, written, outdated = read_study(output_root, scale, sections, uri, experiment, version), [], 0
    for section in reported_sections(study, sections):
        files = section_files(section, study)
        if not files["results"]:
            continue
        for name, rows in files.items():
            path = section.folder / f"{name}{suffix_of(study.scale)}.csv"
            if name == "results":
                outdated += sum(r.get("results.version", "") != study.version for r in read_rows(path))
            if rows:
                write_rows(rows, path)
                written.append(path)
        written += write_speed(section, study)
    if outdated:
        say(f"{outdated_text(outdated)} replaced")
    return written


def write_speed(section: Section, study: Study) -> list[Path]:
    """Write speed.md, the tables of who gets where and how much sooner, if the section has any."""
    labels = labels_of(study.arms_of(section))
    tables = speed_tables(section, study.recorded, labels, defect_roles(study))
    if not tables:
        return []
    path = section.folder / f"speed{suffix_of(study.scale)}.md"
    texts = [markdown_table(replace(table, caption="")) for table in tables]
    write_atomically(path, "\n\n".join([*texts, f"*{plain(tables[0].caption)}*"]) + "\n")
    return [path]


def section_files(section: Section, study: Study) -> dict[str, list[dict[str, str]]]:
    """The rows of each recorded file of a section, by the file's name."""
    arms = study.arms_of(section)
    runs = [(arm, run) for arm, members in arms.items() for _, run in sorted(members.items())]
    rows = [result_row(run) for _, run in runs]
    for (arm, _), row in zip(runs, rows, strict=True):
        row["arm"] = arm.removesuffix(f"@{row['budget']}")
    named = [(row["run_id"], run) for row, (_, run) in zip(rows, runs, strict=True)]
    return {
        "results": rows,
        "curves": curve_rows(section, named, defect_roles(study)) if runs else [],
        "verdicts": [row for result in judged(section, study) for row in verdict_rows(result)],
    }


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
