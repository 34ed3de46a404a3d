"""The report: from what MLflow holds to sections with figures, tables and judged claims."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import yaml

from sbp.config.paths import conf_dir, experiments_dir
from sbp.errors import UserError
from sbp.report.claims import ClaimResult, judge, measured_text, rule_text
from sbp.report.html import write_html
from sbp.report.markdown import write_markdown, write_pictures
from sbp.report.page import Cell, ClaimRow, Estimate, Picture, ReportPage, SectionPage, Table
from sbp.report.render import Draw, Drawing, Renderer, finished
from sbp.report.results import epoch_s
from sbp.report.section_figures import section_pictures
from sbp.report.section_file import Section, load_section
from sbp.tracking.runs import RecordedRun, read_runs
from sbp.tracking.store import open_store

ORDER = (
    "preliminary_study",
    "first_experiment",
    "efficiency",
    "two_defects",
    "selectivity",
    "upsampling",
    "border_effect",
    "gradient_similarity",
)
Arms = dict[str, dict[int, RecordedRun]]


@dataclass(frozen=True)
class Study:
    """Finished runs of one scale. anywhere: arm -> seed -> run, the newest of each, over all sections."""

    scale: str
    anywhere: Arms
    runs: Sequence[RecordedRun]


def read_study(output_root: str, scale: str | None, uri: str | None = None, name: str = "sbp") -> Study:
    """Read the finished runs of all sections from MLflow. scale: None takes that of the newest run. Runs on
    other data than the newest one's are left out: their defects have other names.

    Raises UserError if there are none.
    """
    runs = read_runs(open_store(uri, output_root), name, "attributes.status = 'FINISHED'")
    tags = {f"section.{section}" for section in ORDER}
    members = [run for run in runs if tags & set(run.tags)]
    if scale is None and members:
        scale = members[-1].params["scale"]
    members = [run for run in members if run.params["scale"] == scale]
    if not members:
        raise UserError(
            f"no finished runs of an experiment{f' at scale={scale}' if scale else ''} in {output_root}: "
            "make reproduce trains them"
        )
    members = [run for run in members if run.params["data"] == members[-1].params["data"]]
    anywhere: Arms = {}
    for run in members:  # oldest first, so that the newest stays
        for key in tags & set(run.tags):
            anywhere.setdefault(run.tags[key], {})[run.seed] = run
    return Study(scale or "", anywhere, members)


def sections_of(study: Study, wanted: Sequence[str] | None = None) -> list[Section]:
    """The sections to report, in the blog's order: those asked for, or all. Raises UserError for another."""
    check_sections(wanted)
    names = [name for name in ORDER if wanted is None or name in wanted]
    return [load_section(Path(experiments_dir()) / name / "claims.yaml") for name in names]


def check_sections(wanted: Sequence[str] | None) -> None:
    """Raise UserError for a section that there is not."""
    for name in wanted or ():
        if name not in ORDER:
            raise UserError(f"section {name}: must be one of {', '.join(ORDER)}")


def judged(section: Section, study: Study) -> list[ClaimResult]:
    """Every claim of a section beside what was measured."""
    return [judge(claim, study.anywhere, defect_roles(study)) for claim in section.claims]


def defect_roles(study: Study) -> dict[str, str]:
    """Names of the defects that stand for the blog's A (common) and B (rare)."""
    run = study.runs[-1]
    return {"common": run.first_of("common"), "rare": run.first_of("rare")}


def arm_label(arm: str, runs: Mapping[int, RecordedRun] | None = None) -> str:
    """What an arm is called: by its runs, or by conf/arm where there are none."""
    for run in (runs or {}).values():
        if run.params.get("label", "None") != "None":
            return run.params["label"]
    path = Path(conf_dir()) / "arm" / f"{arm}.yaml"
    return str(yaml.safe_load(path.read_text()).get("label", arm)) if path.is_file() else arm


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


def section_drawings(section: Section, study: Study, draw: Draw) -> list[Drawing]:
    """A section's figures, being rendered."""
    arms, labels = _shown(section, study)
    return section_pictures(section, arms, labels, defect_roles(study), draw)


def _shown(section: Section, study: Study) -> tuple[Arms, dict[str, str]]:
    arms = {arm: study.anywhere.get(arm, {}) for arm in section.arms}
    return arms, {arm: arm_label(arm, runs) for arm, runs in arms.items()}


def section_page(section: Section, study: Study, pictures: Sequence[Picture]) -> SectionPage:
    """One section of the report."""
    arms, labels = _shown(section, study)
    seeds = sorted({run.seed for run in study.runs})
    return SectionPage(
        name=section.name,
        title=section.title,
        question=section.question,
        claims=[claim_row(result) for result in judged(section, study)],
        pictures=pictures,
        tables=[results_table(arms, labels)],
        missing=[f"{labels[arm]}, seed {s}" for arm in arms for s in seeds if s not in arms[arm]],
        notes=section.notes,
    )


def results_table(arms: Arms, labels: Mapping[str, str]) -> Table:
    """One row per arm: what it cost and what it reached, mean and range over seeds."""
    defects = next((run.defects for runs in arms.values() for run in runs.values()), [])
    columns = ["run", "seeds", "epochs", "compute", "seconds per epoch", "kept", "val mAP", "test mAP"]
    rows: list[Sequence[Cell]] = []
    for arm, members in arms.items():
        runs = list(members.values())
        rows.append(
            [
                labels[arm],
                str(len(runs)),
                Estimate.of([len(run.values("train/loss")) for run in runs]),
                Estimate.of([run.last("cost/baseline_epochs") for run in runs]),
                Estimate.of([epoch_s(run) for run in runs]),
                Estimate.of([float(np.mean(run.values("train/kept_fraction"))) for run in runs]),
                Estimate.of([run.last("val/map") for run in runs]),
                Estimate.of([run.last("test/map") for run in runs]),
                *(Estimate.of([run.last(f"test/map/{d}") for run in runs]) for d in defects),
            ]
        )
    caption = "Mean and range over seeds at the end of the run. Compute in baseline epochs; seconds of runs "
    caption += "that did not have the machine to themselves are no measure of speed."
    return Table(columns + [f"test {defect}" for defect in defects], rows, caption)


def report_page(study: Study, sections: Sequence[Section], renderer: Renderer | None = None) -> ReportPage:
    """The whole report. renderer: what makes the figures; None: this process."""
    draw = (renderer or Renderer(0)).draw
    drawings = {section.name: section_drawings(section, study, draw) for section in sections}
    pictures = {name: finished(drawn) for name, drawn in drawings.items()}
    return ReportPage(
        title="Selective back-propagation for segmentation",
        subtitle="The claims of the blog post, and what was measured",
        facts=facts(study),
        sections=[section_page(section, study, pictures[section.name]) for section in sections],
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
        ("Defects", "A (common): {common}, B (rare): {rare}".format(**defect_roles(study))),
        ("Compute of each run", f"{newest.params['budget.compute']} baseline epochs"),
        ("Runs", f"{len(runs)}, seeds {distinct(sorted({run.seed for run in runs}))}"),
        ("Code", distinct(run.tags.get("git.commit", "unknown")[:10] for run in runs)),
        ("Hardware", distinct(_hardware(run) for run in runs)),
        ("torch", distinct(run.tags.get("version.torch", "unknown") for run in runs)),
        ("Date", distinct(dict.fromkeys([days[0], days[-1]]))),
    ]


def _hardware(run: RecordedRun) -> str:
    gpu = run.tags.get("hardware.gpu", "none")
    cpu = f"{run.tags.get('hardware.cpu', 'unknown')} ({run.tags.get('hardware.cores', '?')} cores)"
    return cpu if gpu == "none" else f"{gpu}, {cpu}"


def warnings(study: Study) -> list[str]:
    """What a reader should know before trusting the numbers."""
    found = []
    if len({run.tags.get("code.version") for run in study.runs}) > 1:
        found.append("The runs were made with different versions of the code.")
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
) -> Path:
    """Write report.html, report.md and figures/ and return the path of the page.

    out: folder, by default report/<scale> in the output folder.
    """
    check_sections(sections)
    with Renderer(processes=min(4, os.cpu_count() or 1)) as renderer:
        study = read_study(output_root, scale, uri)
        page = report_page(study, sections_of(study, sections), renderer)
    folder = Path(out) if out else Path(output_root) / "report" / study.scale
    write_pictures(page, folder / "figures")
    write_markdown(page, folder / "report.md")
    path = folder / "report.html"
    write_html(page, path)
    return path
