"""`make reproduce`: the whole grid at smoke scale, killed half-way and started again, and its report."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import cv2
import numpy as np
import pytest

from experiments import readme
from experiments.reproduce import reproduce, running_order
from sbp.errors import UserError
from sbp.report.record import write_record
from sbp.report.results import read_rows, result_row
from sbp.report.section_pages import judged
from sbp.report.sections import Section, chosen_sections, known_sections
from sbp.report.study import read_study
from sbp.report.writing import report_page, write_report
from sbp.tracking.runs import RecordedRun, read_runs
from sbp.tracking.store import open_store
from tests.conftest import ROOT
from tests.report.test_report_page import read

COMMAND = [sys.executable, "-m", "experiments.reproduce", "--scale", "smoke"]
FIRST = ("efficiency", "convergence", "--no-report")
"""What is killed half-way, as composing the jobs of every section once more takes long: those that a grid
begins with, since other sections take their runs over, but not the other way round."""


def finished(output: Path) -> list[RecordedRun]:
    if not (output / "mlflow/mlflow.ready").exists():
        return []
    return read_runs(open_store(None, output), "sbp", "attributes.status = 'FINISHED'")


def environment(output: Path) -> dict[str, str]:
    return {**os.environ, "SBP_OUTPUT": str(output), "OMP_NUM_THREADS": "1", "SBP_JOBS": "2"}


@pytest.fixture(scope="module", params=[pytest.param("smoke", marks=pytest.mark.slow)])
def grid(tmp_path_factory) -> tuple[Path, set[str], str]:
    """Output folder of the grid; runs that had finished when it was killed; what the second start said."""
    output = tmp_path_factory.mktemp("reproduce")
    process = subprocess.Popen(
        [*COMMAND, *FIRST],
        env=environment(output),
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 400
        while len(finished(output)) < 9 and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.5)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    wait_for_workers(output)
    kept = {run.run_id for run in finished(output)}
    again = subprocess.run(
        COMMAND, env=environment(output), cwd=ROOT, capture_output=True, text=True, timeout=500
    )
    assert again.returncode == 0, again.stderr
    return output, kept, again.stdout


def wait_for_workers(output: Path, timeout_s: float = 60) -> None:
    """Workers notice within a second that their sweep is gone, and end."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if not any(str(output).encode() in text for text in environments()):
            return
        time.sleep(0.3)
    raise AssertionError("a worker outlived its sweep")


def environments() -> Iterator[bytes]:
    """The environment of every process; that of a grid's process holds its output folder."""
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            yield (process / "environ").read_bytes()


def test_a_grid_killed_half_way_trains_the_missing_runs_only(grid):
    output, kept, said = grid
    runs = finished(output)
    assert 0 < len(kept) < len(runs)
    assert kept <= {run.run_id for run in runs}
    counts = Counter((run.params["arm"], run.params["budget"], run.seed) for run in runs)
    assert set(counts.values()) == {1}
    total, left = map(int, re.search(r"(\d+) jobs in 9 sections, (\d+) runs to train", said).groups())
    assert (total, left) == (55, len(runs) - len(kept))


def sections_of_the_grid() -> list[Section]:
    return [section for section in chosen_sections() if section.file and section.file.grid]


def test_every_section_has_its_parent_with_all_of_its_runs(grid):
    client = open_store(None, grid[0])
    parents = {
        run.info.run_name: run
        for e in client.search_experiments()
        for run in client.search_runs([e.experiment_id], "tags.`sweep.parent` = 'true'")
    }
    assert set(parents) == {f"{section.name} / smoke" for section in sections_of_the_grid()}
    for name, parent in parents.items():
        assert parent.info.status == "FINISHED"
        (section,) = [s for s in sections_of_the_grid() if name.startswith(s.name)]
        assert parent.data.tags["mlflow.note.content"].count("| FINISHED |") == len(section.arms) * len(
            section.budgets
        )


def test_the_report_has_every_figure_and_no_run_is_missing(grid):
    output = grid[0]
    page = (output / "report/smoke/report.html").read_text()
    sections = sections_of_the_grid()
    assert len(sections) == 9
    assert "Dose of look-alikes" not in page  # a section that is run when it is named
    assert "Runs that are missing" not in page
    pictures = sorted((output / "report/smoke/figures").glob("*.png"))
    for section in sections:
        for number, spec in enumerate(section.file.figures, 1):
            stem = f"{section.name}-{number}-{spec.kind}".replace("_", "-")
            assert any(path.stem.startswith(stem) for path in pictures), stem
    assert len(read(page).sources) == len(pictures)
    for path in pictures:
        picture = cv2.imread(str(path))
        assert picture.shape[1] >= 400, path.name
        assert len(np.unique(picture[::3, ::3])) > 10, f"{path.name} is blank"


def test_the_page_and_its_twin_hold_every_claim_with_a_verdict_of_one_seed(grid):
    study = read_study(str(grid[0]), "smoke")
    results = [result for section in sections_of_the_grid() for result in judged(section, study)]
    twin = (grid[0] / "report/smoke/report.md").read_text()
    page = read((grid[0] / "report/smoke/report.html").read_text()).text
    assert len(results) >= 30
    for result in results:
        assert result.claim.id in page
        assert f"| {result.claim.id} |" in twin
        assert result.verdict in ("undecided", "missing")  # one seed decides nothing
    assert "too few to judge" in page
    assert [result.claim.id for result in results if result.verdict == "missing"] == ["C24"]


def test_a_section_alone_can_be_reported_elsewhere(grid, tmp_path):
    path = write_report(str(grid[0]), "smoke", sections=["upsampling"], out=tmp_path / "there")
    assert path == tmp_path / "there/report.html"
    assert "Selectivity" not in read(path.read_text()).text


def test_a_missing_run_is_shown_as_missing(grid, tmp_path, monkeypatch):
    study = read_study(str(grid[0]), "smoke")
    gone = {arm: runs for arm, runs in study.runs_by_arm.items() if arm != "random_b2"}
    thinner = type(study)(study.scale, gone, study.runs)
    (section,) = chosen_sections(["selectivity"])
    (page,) = report_page(thinner, [section], ThreadPoolExecutor(1)).sections
    assert len(page.missing) == 1
    assert page.missing[0].endswith("seed 0")
    assert len(page.pictures) == len(section.file.figures)


def test_runs_on_other_data_and_of_other_experiments_do_not_mix_in(grid):
    runs = finished(grid[0])
    stranger = replace(runs[-1], run_id="x", tags={"section.leakage": "None"})
    older = replace(runs[0], run_id="y", params={**runs[0].params, "data": "magnetic_tile", "seed": "7"})
    with patch("sbp.report.study.read_runs", lambda *_: [older, *runs, stranger]):
        study = read_study(str(grid[0]), "smoke")
    assert {run.run_id for run in study.runs} == {run.run_id for run in runs}
    assert not any(7 in members for members in study.runs_by_arm.values())


@pytest.mark.parametrize("tag", ["baseline", "None"])
def test_runs_of_an_experiment_without_claims_can_be_reported(grid, tmp_path, tag):
    """leakage has no claims.yaml and no arms; its runs are told apart by their labels."""
    runs = finished(grid[0])
    own = [
        replace(run, tags={**run.tags, "section.leakage": tag})
        for run in runs
        if run.params["arm"] == "baseline"
    ]
    others = [run for run in runs if run.params["arm"] != "baseline"]
    with patch("sbp.report.study.read_runs", lambda *_: others + own):
        path = write_report(str(grid[0]), None, sections=["leakage"], out=tmp_path)
    page = read(path.read_text())
    assert len(page.sources) == 1
    assert "Leakage" in page.text
    assert "baseline" in page.text
    assert "focus all" not in page.text
    assert "no claims" in page.text
    assert len(list((tmp_path / "figures").glob("leakage-1-curves.png"))) == 1


def test_a_report_of_another_mlflow_experiment(grid, tmp_path):
    client = open_store(None, grid[0])
    identity = client.get_experiment_by_name("sbp").experiment_id
    client.rename_experiment(identity, "foo")
    try:
        with pytest.raises(
            UserError, match=r"sbp report --experiment foo --scale smoke border_effect"
        ) as error:
            write_report(str(grid[0]), "smoke")
        assert "\n" not in str(error.value)
        path = write_report(str(grid[0]), "smoke", sections=["upsampling"], out=tmp_path, experiment="foo")
        assert "Upsampling" in read(path.read_text()).text
    finally:
        client.rename_experiment(identity, "sbp")


def test_results_hold_resolved_values_and_the_results_version_where_a_run_has_them(grid):
    run = finished(grid[0])[0]
    params = {**run.params, "resolved.beta": "12.0", "resolved.N": "9"}
    tags = {k: v for k, v in run.tags.items() if k not in ("exclusive", "results.version")}
    row = result_row(replace(run, params=params, tags={**tags, "results.version": "2", "alone": "true"}))
    assert (row["resolved.beta"], row["resolved.N"], row["results.version"]) == ("12.0", "9", "2")
    assert row["exclusive"] == "true"  # as runs of earlier versions say it
    plain = {k: v for k, v in run.params.items() if not k.startswith("resolved.")}
    assert not any(key.startswith("resolved.") for key in result_row(replace(run, params=plain)))


@pytest.fixture
def copies(tmp_path, monkeypatch):
    """A folder with copies of the claims, into which results are recorded."""
    for section in chosen_sections():
        (tmp_path / section.name).mkdir()
        shutil.copy(section.folder / "claims.yaml", tmp_path / section.name)
    monkeypatch.setattr("sbp.report.sections.sections_dirs", lambda: [tmp_path])
    known_sections.cache_clear()
    yield tmp_path
    known_sections.cache_clear()


def test_results_are_recorded_with_config_seed_commit_and_hardware(grid, copies):
    written = write_record(str(grid[0]), "smoke")
    assert len(written) == 3 * len(sections_of_the_grid()) + 1
    assert "until the upsampled baseline's broken" in (copies / "convergence/speed_smoke.md").read_text()
    rows = read_rows(copies / "two_defects/results_smoke.csv")
    assert len(rows) == 6
    for row in rows:
        for key in ("arm", "seed", "scale", "beta", "git.commit", "hardware.cpu", "test/map", "cost/flops"):
            assert row[key] != "", key
        assert row["status"] == "FINISHED"
        assert row["exclusive"] in ("true", "false")
    verdicts = read_rows(copies / "two_defects/verdicts_smoke.csv")
    assert {row["verdict"] for row in verdicts} == {"undecided"}
    assert all(row["rule"] and row["measured"] for row in verdicts)
    assert any(row["values"].startswith("0:") for row in verdicts)


DOCUMENTS = {
    "README.md": ["speed", "tally"],
    "docs/results.md": ["speed", "claims", "results"],
    "docs/metrics.md": ["metrics"],
    "docs/beyond.md": ["beyond"],
    "docs/active_learning.md": ["active_learning"],
    "docs/incremental.md": ["incremental"],
    "docs/classification.md": ["classification"],
}


def empty_documents(root: Path) -> None:
    for name, blocks in DOCUMENTS.items():
        (root / name).parent.mkdir(exist_ok=True)
        empty = "".join(f"<!-- {m}:start -->\n<!-- {m}:end -->\n" for m in blocks)
        (root / name).write_text("before\n" + empty + "after\n")


def test_the_documents_tables_come_from_the_recorded_files(grid, copies):
    for path in write_record(str(grid[0]), "smoke"):
        path.rename(path.with_name(path.name.replace("_smoke", "")))
    empty_documents(copies)
    readme.main(copies)
    text = (copies / "docs/results.md").read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert all(f"| C{n} |" in text for n in range(1, 25))
    assert text.count("focus A, beta 8, stale_smart") == 1  # shared by sections, listed once
    assert "40 undecided, 1 missing" in (copies / "README.md").read_text()


def test_the_documents_say_what_the_committed_results_say(tmp_path):
    empty_documents(tmp_path)
    readme.main(tmp_path)
    for name, marker in ((name, marker) for name, markers in DOCUMENTS.items() for marker in markers):
        made, kept = ((root / name).read_text().split(f"<!-- {marker}:")[1] for root in (tmp_path, ROOT))
        assert made == kept, marker


def test_sections_whose_runs_have_the_machine_to_themselves_run_first():
    order = [section.name for section in running_order()]
    assert order[:2] == ["efficiency", "convergence"]
    assert sorted(order) == sorted(section.name for section in sections_of_the_grid())
    assert [section.name for section in running_order(["beyond"])] == ["beyond"]  # when it is named
    assert [s.name for s in running_order(["two_defects", "efficiency"])] == ["efficiency", "two_defects"]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            (["two_defect"], "smoke", "0"),
            "section two_defect: must be one of convergence, preliminary_study, ",
        ),
        ((["two_defects"], "small", "0"), "SCALE=small: must be one of smoke, cpu, gpu"),
        ((["two_defects"], "smoke", "0;1"), "SEEDS=0;1: must be whole numbers with commas"),
        ((["two_defects"], "smoke", "0", ["bta=b2"]), "bta"),
    ],
)
def test_a_mistake_is_one_line_before_anything_runs(arguments, line):
    with pytest.raises(UserError, match=re.escape(line)) as error:
        reproduce(*arguments)
    assert "\n" not in str(error.value)


def test_a_report_of_a_section_that_there_is_not_is_refused(tmp_path):
    with pytest.raises(
        UserError, match="section two_defect: must be one of convergence, preliminary_study, "
    ):
        write_report(str(tmp_path), "smoke", sections=["two_defect"])


def test_a_report_of_nothing_says_how_to_get_something(tmp_path):
    with pytest.raises(
        UserError, match=r"no finished runs of an experiment at scale=cpu in .*make reproduce"
    ):
        write_report(str(tmp_path), "cpu")
