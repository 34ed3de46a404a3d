"""A section of the report: its claims judged, its figures, and tables of its runs."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import replace

from sbp.metrics.tasks import task_of_metrics
from sbp.plots.comparison import comparison_metrics
from sbp.report.claims import ClaimResult, judge, measured_text, rule_text
from sbp.report.false_alarms import false_alarm_tables
from sbp.report.measures import budget_of
from sbp.report.page import Cell, ClaimRow, Estimate, Picture, SectionPage, Table, seeds_text
from sbp.report.recorded_curves import as_recorded
from sbp.report.results import epoch_s, epochs, kept_fraction
from sbp.report.run_curves import run_label
from sbp.report.section_figures import render, section_pictures
from sbp.report.section_file import default_figures
from sbp.report.sections import Section, arm_label
from sbp.report.speed import speed_tables
from sbp.report.study import Arms, Study, defect_roles


def judged(section: Section, study: Study) -> list[ClaimResult]:
    """Every claim of a section beside what was measured."""
    claims = section.file.claims if section.file else []
    return [judge(claim, study.recorded, defect_roles(study)) for claim in claims]


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
