"""What a report is about: finished runs of one scale and results version, as MLflow holds them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sbp.errors import UserError
from sbp.report.measures import SHORT, arm_key, ran_exclusively
from sbp.report.recorded_curves import as_recorded
from sbp.report.run_curves import run_label
from sbp.report.sections import Section, chosen_sections
from sbp.tracking.runs import RecordedRun, read_runs
from sbp.tracking.store import open_store

Arms = dict[str, dict[int, RecordedRun]]
FINISHED = "attributes.status = 'FINISHED'"
SECTION = "section."
"""How the tag begins that says that a run belongs to a section; its value is the run's arm."""


@dataclass(frozen=True)
class Study:
    """Finished runs of one scale and results version. runs_by_arm: `arm_key` -> seed -> run, the newest of
    each, over all sections; runs without an arm stand under their label. outdated: how many runs of other
    results versions were left out."""

    scale: str
    runs_by_arm: Arms
    runs: Sequence[RecordedRun]
    outdated: int = 0

    @property
    def version(self) -> str:
        """The results version of its runs."""
        return self.runs[-1].results_version

    @cached_property
    def recorded(self) -> Arms:
        """The same runs with the curves that are recorded of them, which figures show and claims judge."""
        return {
            arm: {seed: as_recorded(run) for seed, run in members.items()}
            for arm, members in self.runs_by_arm.items()
        }

    def arms_of(self, section: Section) -> Arms:
        """The section's arms, at each of its budgets, with their runs, if there are any."""
        keys = [arm_key(arm, budget) for budget in section.budgets for arm in section.arms]
        keys = keys or [_key(run, section.name) for run in self.runs if SECTION + section.name in run.tags]
        return {key: self.runs_by_arm.get(key, {}) for key in dict.fromkeys(keys)}

    def holds(self, section: Section) -> bool:
        """Whether a run was made for the section, and not only for others that share an arm with it."""
        return any(SECTION + section.name in run.tags for run in self.runs)


def read_study(
    output_root: str,
    scale: str | None = None,
    sections: Sequence[str] | None = None,
    uri: str | None = None,
    experiment: str = "sbp",
    version: str | None = None,
) -> Study:
    """Read finished runs from MLflow: those of the sections asked for, and of all that have claims, as claims
    compare runs of several sections.

    scale: None takes that of the newest run asked for. Runs on other data than the newest one's are left
    out: their defects have other names; so are runs of another results version, which are not comparable.
    experiment: MLflow's name of it. version: the results version, None for that of the newest run. Raises
    UserError if there are none.
    """
    client = open_store(uri, output_root)
    wanted = {s.name for s in chosen_sections(sections)}
    names = wanted | {s.name for s in chosen_sections()}
    runs = [run for run in read_runs(client, experiment, FINISHED) if _sections_of(run) & names]
    asked_for = [
        run
        for run in runs
        if _sections_of(run) & wanted
        and scale in (None, run.params["scale"])
        and version in (None, run.results_version)
    ]
    if not asked_for:
        scale_text = f" at scale={scale}" if scale else ""
        raise UserError(
            f"no finished runs of an experiment{scale_text} in {output_root}: make reproduce trains them"
            + _elsewhere(client, experiment)
        )
    newest, version = asked_for[-1].params, version or asked_for[-1].results_version
    alike = [r for r in runs if all(r.params[key] == newest[key] for key in ("scale", "data"))]
    current = [run for run in alike if run.results_version == version]
    by_arm: Arms = {}
    for run in current:  # oldest first, so that the newest stays
        for name in sorted(_sections_of(run) & names):
            members = by_arm.setdefault(_key(run, name), {})
            members[run.seed] = _better(members.get(run.seed), run)
    return Study(newest["scale"], by_arm, current, len(alike) - len(current))


def reported_sections(study: Study, wanted: Sequence[str] | None = None) -> list[Section]:
    """The sections asked for; without, those of the grid, and of the others those that have been run."""
    chosen = chosen_sections(wanted)
    return [s for s in chosen if wanted or (s.file and s.file.grid) or study.holds(s)]


def _better(known: RecordedRun | None, newer: RecordedRun) -> RecordedRun:
    """The newer one of two runs of an arm; of two that are the same, one that had the machine to itself."""
    alike = known is not None and known.tags.get("fingerprint", "") == newer.tags.get("fingerprint")
    return known if known and alike and ran_exclusively(known) and not ran_exclusively(newer) else newer


def _sections_of(run: RecordedRun) -> set[str]:
    return {tag.removeprefix(SECTION) for tag in run.tags if tag.startswith(SECTION)}


def _key(run: RecordedRun, section: str) -> str:
    arm = run.tags[SECTION + section]
    return arm_key(run_label(run) if arm == "None" else arm, run.params.get("budget", SHORT))


def _elsewhere(client: Any, asked_for: str) -> str:
    """Where there are finished runs instead: other sections, scales or experiments of MLflow."""
    found: Counter[str] = Counter()
    for experiment in client.search_experiments():
        option = "" if experiment.name == asked_for else f"--experiment {experiment.name} "
        for run in read_runs(client, experiment.name, FINISHED):
            found.update(f"{option}--scale {run.params['scale']} {name}" for name in _sections_of(run))
    shown = [f"sbp report {options} ({count})" for options, count in found.most_common(5)]
    return f"; finished runs elsewhere: {', '.join(shown)}" if shown else ""


def defect_roles(study: Study) -> dict[str, str]:
    """Names of the defects that stand for the blog's A (common) and B (rare)."""
    run = study.runs[-1]
    return {"common": run.first_of("common"), "rare": run.first_of("rare")}
