"""From the recorded files of sections back to runs: what one machine recorded, another takes as done."""

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sbp.errors import UserError
from sbp.report.results import PARAMS, RESOLVED, TAGS, read_rows, recorded_row, time_of
from sbp.report.sections import Section, chosen_sections
from sbp.tracking.imported import (
    ROW,
    ImportedRun,
    complete_run,
    import_run,
    is_imported,
    remove_unfinished,
)
from sbp.tracking.runs import RecordedRun, read_runs
from sbp.tracking.store import artifact_location, experiment_id, open_store
from sbp.utils.files import file_lock

SPLITS = ("val/", "test/")
"""How the metrics in a row begin."""


@dataclass(frozen=True)
class Imported:
    """What `import_recorded` did. runs: fingerprints of those that are recorded; new: how many of them were
    not in the store; outdated: rows of other results versions, which were left out."""

    runs: frozenset[str]
    new: int
    outdated: int

    def __str__(self) -> str:
        text = f"{len(self.runs)} recorded runs ({self.new} new in this store)"
        return text + (f", {outdated_text(self.outdated)} left out" if self.outdated else "")


def outdated_text(rows: int) -> str:
    """How many rows are of other results versions."""
    return f"{rows} row{'s' if rows > 1 else ''} of another results version"


@dataclass
class _Recorded:
    """A recorded run. path: the first file that has it; arms: what each section calls it; series: metric ->
    step -> value, of all sections."""

    path: Path
    row: dict[str, str]
    arms: dict[str, str] = field(default_factory=dict)
    series: dict[str, dict[int, float]] = field(default_factory=dict)


def suffix_of(scale: str) -> str:
    """How the names of recorded files of a scale end."""
    return "" if scale == "cpu" else f"_{scale}"


def import_recorded(
    output_root: str,
    version: str,
    scale: str | None = None,
    sections: Sequence[str] | None = None,
    uri: str | None = None,
    experiment: str = "sbp",
) -> Imported:
    """Put what is recorded beside sections into the store as finished runs: of the sections asked for, and of
    all that have claims, as claims compare runs of several.

    version: the results version to take. scale: None for all. uri, experiment: MLflow's store and the
    experiment's name in it. A run of the same fingerprint that was trained on this store stands before what
    is recorded of it. Doing it again changes nothing. Raises UserError for damaged files.
    """
    chosen = {section.name: section for section in [*chosen_sections(), *chosen_sections(sections)]}
    found, outdated = _recorded_runs(list(chosen.values()), version, scale)
    if not found:
        return Imported(frozenset(), 0, outdated)
    client = open_store(uri, output_root)
    folder = Path(output_root) / "mlflow"
    folder.mkdir(parents=True, exist_ok=True)
    new = 0
    with file_lock(folder / "import.lock"):
        place = experiment_id(client, experiment, artifact_location(output_root) if uri is None else None)
        remove_unfinished(client, place)
        held: dict[str, list[RecordedRun]] = {}
        for run in read_runs(client, experiment, "attributes.status = 'FINISHED'"):
            held.setdefault(run.tags.get("fingerprint", ""), []).append(run)
        for recorded in found:
            with _damage_as_user_error(recorded.path):
                made = _imported_run(recorded)
                known = _standing(held.get(recorded.row["fingerprint"], []), recorded.row)
            if known is None:
                import_run(client, place, made)
                new += 1
            else:
                same = recorded_row(known).get("run_id") == recorded.row["run_id"]
                complete_run(client, known, made, same)
    return Imported(frozenset(run.row["fingerprint"] for run in found), new, outdated)


def _standing(held: Sequence[RecordedRun], row: Mapping[str, str]) -> RecordedRun | None:
    """The run of the same fingerprint that makes an import needless, if there is one."""
    for run in held:
        if row["exclusive"] == "true" and run.tags.get("exclusive") != "true":
            continue
        if not is_imported(run) or run.started >= time_of(row["started"]):
            return run
    return None


def _imported_run(recorded: _Recorded) -> ImportedRun:
    """What the store is to hold of it: every metric of its curves, and of its row those that have none."""
    row, series = recorded.row, dict(recorded.series)
    last = max(series["train/loss"])
    for key, text in row.items():
        if key.startswith(SPLITS) and text and key not in series:
            series[key] = {last: float(text)}
    told = {key: text for key, text in row.items() if not key.startswith(SPLITS)}
    tags = {key: row[key] for key in TAGS if row.get(key)} | {ROW: json.dumps(told)}
    tags |= {f"section.{section}": arm for section, arm in recorded.arms.items()}
    keys = ("arm", "budget", "label", "seed", *PARAMS)
    params = {key: row.get(key, "") for key in keys} | {key: row[key] for key in RESOLVED if row.get(key)}
    section = next(iter(recorded.arms))
    return ImportedRun(
        name=f"{section} / {row['label']} / seed {row['seed']}",
        started=time_of(row["started"]),
        params=params,
        tags=tags,
        series=series,
        times=series.get("time/work_s", {}),
    )


def _recorded_runs(
    sections: Sequence[Section], version: str, scale: str | None
) -> tuple[list[_Recorded], int]:
    """Every recorded run of a results version, oldest first, and how many rows are of others."""
    found: dict[str, _Recorded] = {}
    outdated = 0
    for section in sections:
        for path in _results_files(section, scale):
            rows = read_rows(path)
            current = [row for row in rows if row.get("results.version") == version]
            outdated += len(rows) - len(current)
            curves_path = path.with_name(path.name.replace("results", "curves", 1))
            with _damage_as_user_error(curves_path):
                curves = _curves(curves_path) if current else {}
                for row in current:
                    run = found.setdefault(row["run_id"], _Recorded(path, row))
                    run.arms[section.name] = row["arm"]
                    run.series |= curves[row["run_id"]]
    return sorted(found.values(), key=lambda run: run.row["started"]), outdated


def _results_files(section: Section, scale: str | None) -> list[Path]:
    if scale is None:
        return sorted([*section.folder.glob("results.csv"), *section.folder.glob("results_*.csv")])
    return [section.folder / f"results{suffix_of(scale)}.csv"]


def _curves(path: Path) -> dict[str, dict[str, dict[int, float]]]:
    """run -> metric -> step -> value, of a file of curves."""
    runs: dict[str, dict[str, dict[int, float]]] = {}
    for row in read_rows(path):
        series = runs.setdefault(row.pop("run_id"), {})
        step = int(row.pop("step"))
        for key, text in row.items():
            if text:
                series.setdefault(key, {})[step] = float(text)
    return runs


@contextlib.contextmanager
def _damage_as_user_error(path: Path) -> Iterator[None]:
    """Turn what is missing in a recorded file, or no number, into one line that names it."""
    try:
        yield
    except KeyError as error:
        raise UserError(f"{path}: is damaged, it has no {error.args[0]}") from None
    except ValueError as error:
        raise UserError(f"{path}: is damaged: {' '.join(str(error).split())}") from None
