"""The report: from what MLflow holds to sections with figures, tables and judged claims."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from sbp.errors import UserError
from sbp.metrics.tasks import task_of_metrics
from sbp.plots.comparison import comparison_metrics
from sbp.report.claims import ClaimResult, judge, measured_text, rule_text
from sbp.report.documents import write_html, write_markdown, write_pictures
from sbp.report.false_alarms import false_alarm_tables
from sbp.report.measures import SHORT, arm_key, budget_of, ran_exclusively
from sbp.report.page import Cell, ClaimRow, Estimate, Picture, ReportPage, SectionPage, Table, seeds_text
from sbp.report.recorded_curves import as_recorded
from sbp.report.results import epoch_s, epochs, kept_fraction
from sbp.report.run_curves import run_label
from sbp.report.section_figures import render, section_pictures
from sbp.report.section_file import default_figures
from sbp.report.sections import Section, arm_label, chosen_sections
from sbp.report.speed import speed_tables
from sbp.tracking.imported import is_imported
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


def judged(section: Section, study: Study) -> list[ClaimResult]:
    """Every claim of a section beside what was measured."""
    claims = section.file.claims if section.file else []
    return [judge(claim, study.recorded, defect_roles(study)) for claim in claims]


def defect_roles(study: Study) -> dict[str, str]:
    """Names of the defects that stand for the blog's A (common) and B (rare)."""
    run = study.runs[-1]
    return {"common": run.first_of("common"), "rare": run.first_of("rare")}


def claim_row(result: ClaimResult) -> ClaimRow:
    """A judged claim as the page shows it."""
    claim = result.claim
    return ClaimRow(
        id=claim.id,
        source=claim.source,
        text=claim.text,
        rules=[rule_text(part.part) for part in result.parts],
        measured=[measured_text(part) for part in result.parts],
        verdict=result.verdict,
        note=claim.note,
    )


def section_drawings(section: Section, study: Study, pool: Executor) -> list[tuple[Picture, Future]]:
    """A section's figures without their bytes, which are being rendered by `pool`."""
    newest = study.runs[-1]
    metrics = comparison_metrics(newest.defects, key=task_of_metrics(newest.metrics).validated)
    figures = section.file.figures if section.file else default_figures(metrics)
    arms = study.arms_of(section)
    recorded = {arm: study.recorded.get(arm, {}) for arm in arms}
    made = section_pictures(section.name, figures, recorded, labels_of(arms), defect_roles(study))
    return [(picture, pool.submit(render, figure)) for figure, picture in made]


def labels_of(arms: Arms) -> dict[str, str]:
    """What arms are called: by their runs, or by conf/arm where there are none."""
    return {
        key: next(map(run_label, runs.values()), "") or arm_label(key.partition("@")[0])
        for key, runs in arms.items()
    }


def section_page(section: Section, study: Study, drawings: Sequence[tuple[Picture, Future]]) -> SectionPage:
    """One section of the report; waits for its figures."""
    arms = study.arms_of(section)
    labels = labels_of(arms)
    trained = {budget_of(key) for key, runs in arms.items() if runs}
    shown = {key: runs for key, runs in arms.items() if budget_of(key) in trained or not trained}
    several = len(section.budgets) > 1
    full = {key: f"{label}, {budget_of(key)}" if several else label for key, label in labels.items()}
    seeds = sorted({run.seed for run in study.runs})
    return SectionPage(
        name=section.name,
        title=section.title,
        question=section.file.question if section.file else "",
        claims=[claim_row(result) for result in judged(section, study)],
        pictures=[replace(p, **dict(zip(("png", "svg"), f.result(), strict=True))) for p, f in drawings],
        tables=[
            *speed_tables(section, study.recorded, labels, defect_roles(study)),
            results_table(shown, full, len(seeds)),
            *false_alarm_tables({key: study.recorded.get(key, {}) for key in shown}, full, len(seeds)),
        ],
        missing=missing_runs(arms, full, seeds),
        notes=section.file.notes if section.file else "",
        headline=bool(section.file and section.file.headline),
    )


def missing_runs(arms: Arms, labels: Mapping[str, str], seeds: Sequence[int]) -> list[str]:
    """The runs that are not there, by label and seed; one line for a budget of which none is."""
    budgets = dict.fromkeys(map(budget_of, arms))
    trained = {budget_of(key) for key, runs in arms.items() if runs}
    empty = [budget for budget in budgets if budget not in trained] if trained else []
    hint = "all of the {0} budget (make reproduce BUDGETS={0})"
    single = [
        f"{labels[key]}, seed {seed}"
        for key, runs in arms.items()
        for seed in seeds
        if seed not in runs and budget_of(key) not in empty
    ]
    return [*map(hint.format, empty), *single]


def results_table(arms: Arms, labels: Mapping[str, str], seeds: int) -> Table:
    """One row per arm: what it cost and what it reached, mean and range over seeds. seeds: how many there are
    of any arm."""
    task = task_of_metrics({key for runs in arms.values() for run in runs.values() for key in run.metrics})
    defects = next((run.defects for runs in arms.values() for run in runs.values() if task.has_maps), [])
    columns = ["run", "seeds", "epochs", "compute", "seconds per epoch", "kept"]
    columns += [f"val {task.title}", f"test {task.title}"]
    rows: list[Sequence[Cell]] = []
    for arm, members in arms.items():
        whole = list(members.values())
        runs = [as_recorded(run) for run in whole]
        rows.append(
            [
                labels[arm],
                seeds_text(len(runs), seeds),
                Estimate.of(map(epochs, whole)),
                Estimate.of([run.last("cost/baseline_epochs") for run in runs]),
                Estimate.of(map(epoch_s, whole)),
                Estimate.of(map(kept_fraction, whole)),
                Estimate.of([run.last(task.validated) for run in runs]),
                Estimate.of([run.last(task.tested) for run in runs]),
                *(Estimate.of([run.last(f"{task.tested}/{d}") for run in runs]) for d in defects),
            ]
        )
    caption = "Mean and range over seeds at the end of the run. Compute in baseline epochs; seconds of runs "
    caption += "that did not have the machine to themselves are no measure of speed."
    return Table(columns + [f"test {defect}" for defect in defects], rows, caption)


def report_page(study: Study, sections: Sequence[Section], pool: Executor) -> ReportPage:
    """The whole report. pool: what renders the figures, while the data of the next ones is read."""
    drawings = [section_drawings(section, study, pool) for section in sections]
    return ReportPage(
        title="Selective back-propagation for segmentation",
        subtitle="The claims of the blog post, and what was measured",
        facts=facts(study),
        sections=[section_page(s, study, drawn) for s, drawn in zip(sections, drawings, strict=True)],
        warnings=warnings(study),
    )


def facts(study: Study) -> list[tuple[str, str]]:
    """Where the results come from."""

    def distinct(values) -> str:
        return ", ".join(dict.fromkeys(str(v) for v in values))

    runs, newest = study.runs, study.runs[-1]
    days = sorted(datetime.fromtimestamp(run.started / 1000, UTC).date() for run in runs)
    data = f"{newest.params['data']}, {newest.params.get('data.train_images', '?')} training images of "
    data += f"{newest.params['data.image_size']} x {newest.params['data.image_size']} pixels"
    return [
        ("Scale", study.scale),
        ("Data", data),
        _shown_by_images(study),
        ("Compute of each run", f"{distinct(_budgets(runs))} baseline epochs"),
        ("Runs", f"{len(runs)}, seeds {distinct(sorted({run.seed for run in runs}))}{_elsewhere_text(runs)}"),
        ("Code", distinct(run.tags.get("git.commit", "unknown")[:10] for run in runs)),
        ("Hardware", distinct(_hardware(run) for run in runs)),
        ("torch", distinct(run.tags.get("version.torch", "unknown") for run in runs)),
        ("Date", distinct(dict.fromkeys([days[0], days[-1]]))),
    ]


def _shown_by_images(study: Study) -> tuple[str, str]:
    newest = study.runs[-1]
    if not task_of_metrics(newest.metrics).has_maps:
        return "Classes", str(len(newest.defects))
    return "Defects", "A (common): {common}, B (rare): {rare}".format(**defect_roles(study))


def _elsewhere_text(runs: Sequence[RecordedRun]) -> str:
    count = sum(map(is_imported, runs))
    return f"; {count} of them taken from recorded results" if count else ""


def _budgets(runs: Sequence[RecordedRun]) -> list[str]:
    """Baseline epochs of the runs, the least first."""
    return sorted({run.params["budget.compute"] for run in runs}, key=lambda text: (len(text), text))


def _hardware(run: RecordedRun) -> str:
    gpu = run.tags.get("hardware.gpu", "none")
    cpu = f"{run.tags.get('hardware.cpu', 'unknown')} ({run.tags.get('hardware.cores', '?')} cores)"
    return cpu if gpu == "none" else f"{gpu}, {cpu}"


def warnings(study: Study) -> list[str]:
    """What a reader should know before trusting the numbers."""
    found = []
    if study.outdated:
        found.append(f"{study.outdated} runs of another results version are there and left out.")
    if any(run.tags.get("git.dirty") == "true" for run in study.runs):
        found.append("Some runs were made with changes that are not in the named commit.")
    seeds = {run.seed for run in study.runs}
    if len(seeds) < 3:
        found.append(
            f"{len(seeds)} seed{'s' if len(seeds) > 1 else ''}: too few to judge a claim; "
            "three or more give intervals (SEEDS=0,1,2)."
        )
    if study.scale == "smoke":
        found.append("Smoke scale: seconds of training on tiny images. The numbers mean nothing.")
    return found


def write_report(
    output_root: str,
    scale: str | None = None,
    sections: Sequence[str] | None = None,
    out: str | Path | None = None,
    uri: str | None = None,
    experiment: str = "sbp",
    version: str | None = None,
) -> Path:
    """Write report.html, report.md and figures/ and return the path of the page.

    sections: None for those of the grid, and others that have been run. out: folder, by default
    report/<scale> in the output folder. uri, experiment: MLflow's store and the experiment's name in it.
    version, UserError: see `read_study`.
    """
    # spawn, not fork: the tracking client has threads
    with ProcessPoolExecutor(min(4, os.cpu_count() or 1), get_context("spawn")) as pool:
        study = read_study(output_root, scale, sections, uri, experiment, version)
        page = report_page(study, reported_sections(study, sections), pool)
    folder = Path(out) if out else Path(output_root) / "report" / study.scale
    write_pictures(page, folder / "figures")
    write_markdown(page, folder / "report.md")
    path = folder / "report.html"
    write_html(page, path)
    return path
