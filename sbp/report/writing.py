"""The report as files: from what MLflow holds to report.html, its Markdown twin and the figures."""

import os
from collections.abc import Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from sbp.metrics.tasks import task_of_metrics
from sbp.report.documents import write_html, write_markdown, write_pictures
from sbp.report.facts import facts, warnings
from sbp.report.page import ReportPage
from sbp.report.section_pages import section_drawings, section_page
from sbp.report.sections import Section
from sbp.report.study import Study, read_study, reported_sections


def report_page(study: Study, sections: Sequence[Section], pool: Executor) -> ReportPage:
    """The whole report. pool: what renders the figures, while the data of the next ones is read."""
    drawings = [section_drawings(section, study, pool) for section in sections]
    return ReportPage(
        title=f"Selective back-propagation for {task_of_metrics(study.runs[-1].metrics).name}",
        subtitle="The claims of the blog post, and what was measured",
        facts=facts(study),
        sections=[section_page(s, study, drawn) for s, drawn in zip(sections, drawings, strict=True)],
        warnings=warnings(study),
    )


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
