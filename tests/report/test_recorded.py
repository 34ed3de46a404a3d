"""What is recorded on one machine is taken as done on another, and recorded together with what is there."""

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from experiments import readme
from sbp.errors import UserError
from sbp.report.record import write_record
from sbp.report.recorded import Imported, import_recorded
from sbp.report.results import read_rows, write_rows
from sbp.report.section_figures import section_pictures
from sbp.report.section_pages import labels_of, section_page
from sbp.report.sections import chosen_sections, known_sections
from sbp.report.study import defect_roles, read_study
from sbp.run.results_version import RESULTS_VERSION
from sbp.tracking.imported import IMPORTED, is_imported
from sbp.tracking.runs import RecordedRun, find_finished, join_sweep, read_runs
from sbp.tracking.store import open_store
from tests.conftest import ROOT

VERSION = str(RESULTS_VERSION)
ARMS = {"2": "focus_all_b2", "8": "focus_all"}
FILES = ("results_smoke.csv", "curves_smoke.csv", "verdicts_smoke.csv")


@pytest.fixture(scope="module")
def trained(sweep, tmp_path_factory) -> Path:
    """A store with the runs of a real sweep as two arms of the section `selectivity` with two seeds each: its
    two aggregations pass for seeds."""
    folder = tmp_path_factory.mktemp("trained")
    shutil.copytree(sweep / "mlflow", folder / "mlflow")
    with closing(sqlite3.connect(folder / "mlflow/mlflow.db")) as db, db:
        seeds = "SELECT run_uuid FROM params WHERE key = 'aggregation' AND value = 'mean'"
        db.execute(f"UPDATE params SET value = '1' WHERE key = 'seed' AND run_uuid IN ({seeds})")
        for beta, arm in ARMS.items():
            of_arm = f"SELECT run_uuid FROM params WHERE key = 'beta' AND value IN ('{beta}', 'b{beta}')"
            db.execute(f"INSERT INTO tags SELECT 'section.selectivity', '{arm}', run_uuid FROM ({of_arm})")
            db.execute(f"UPDATE params SET value = '{arm}' WHERE key = 'label' AND run_uuid IN ({of_arm})")
    return folder


@pytest.fixture
def store(trained, tmp_path, monkeypatch) -> Callable[..., Path]:
    """Makes an output folder whose store has the runs of the given seeds, or none; sections are recorded in
    copies of theirs."""
    shown = tmp_path / "experiments"
    (shown / "selectivity").mkdir(parents=True)
    shutil.copy(ROOT / "experiments/selectivity/claims.yaml", shown / "selectivity")
    monkeypatch.setattr("sbp.report.sections.sections_dirs", lambda: [shown])
    known_sections.cache_clear()

    def made(name: str, *seeds: int) -> Path:
        shutil.copytree(trained, tmp_path / name)
        client = open_store(None, tmp_path / name)
        for run in read_runs(client, "sbp"):
            if run.seed not in seeds:
                client.delete_run(run.run_id)
        return tmp_path / name

    yield made
    known_sections.cache_clear()


def place(output: Path) -> Path:
    return output.parent / "experiments/selectivity"


def record(output: Path) -> dict[str, bytes]:
    """What is recorded there, after what was recorded before was imported."""
    import_recorded(str(output), VERSION, "smoke")
    write_record(str(output), "smoke", version=VERSION, say=lambda line: None)
    return {name: (place(output) / name).read_bytes() for name in FILES}


def runs_of(output: Path) -> list[RecordedRun]:
    return read_runs(open_store(None, output), "sbp", "attributes.status = 'FINISHED'")


def page_of(output: Path) -> list[str]:
    """Everything that a report says of the section, and what its figures are made from."""
    study = read_study(str(output), "smoke")
    (section,) = chosen_sections()
    arms = {arm: study.recorded.get(arm, {}) for arm in study.arms_of(section)}
    made = section_pictures(section.name, section.file.figures, arms, labels_of(arms), defect_roles(study))
    return [repr(section_page(section, study, ())), *map(repr, made)]


def test_recorded_runs_say_in_another_store_what_they_said_in_theirs(store):
    first, second = store("first", 0, 1), store("second")
    files = record(first)
    rows = read_rows(place(first) / "results_smoke.csv")
    assert [(row["arm"], row["budget"], row["seed"]) for row in rows] == [
        (arm, "short", seed) for arm in ARMS.values() for seed in "01"
    ]
    assert all(row["started"].endswith("Z") and row["data.common"] == "['scratch']" for row in rows)
    assert {row["verdict"] for row in read_rows(place(first) / FILES[2])} > {"missing"}
    assert record(second) == files
    assert len(runs_of(second)) == 4
    assert all(map(is_imported, runs_of(second)))
    assert page_of(second) == page_of(first)
    assert import_recorded(str(first), VERSION, "smoke").new == 0  # it trained them itself
    assert record(first) == files


def test_an_imported_run_is_found_instead_of_trained(store):
    first, second = store("first", 0), store("second")
    record(first)
    import_recorded(str(second), VERSION)
    client, original = open_store(None, second), runs_of(first)[0]
    found = find_finished(client, "sbp", original.tags["fingerprint"], exclusive=False)
    assert found is not None
    assert (found.seed, found.started) == (original.seed, original.started)
    assert found.last("test/pixel_ap") == pytest.approx(original.last("test/pixel_ap"), rel=1e-5)
    assert find_finished(client, "sbp", original.tags["fingerprint"], exclusive=True) is None
    join_sweep(client, found, "a sweep", {"section.two_defects": "focus_all"})
    assert import_recorded(str(second), VERSION).new == 0
    assert found.artifact("figures/gallery.png") is None
    with pytest.raises(UserError, match=r"selectivity / .* / seed 0: was trained elsewhere"):
        _ = found.folder


def test_what_two_machines_recorded_is_one_record(store):
    output = store("both", 0, 1)
    both = record(output)
    for name in FILES:
        (place(output) / name).unlink()
    assert record(store("first", 0)) != both
    assert record(store("second", 1)) == both


def test_an_arm_that_lacks_a_seed_is_shown_as_half_recorded(store):
    output = store("first", 0, 1)
    gone = next(run for run in runs_of(output) if run.seed == 1)
    open_store(None, output).delete_run(gone.run_id)
    record(output)
    study = read_study(str(output), "smoke")
    (section,) = chosen_sections()
    page = section_page(section, study, ())
    seeds = {row[0]: row[1] for row in page.tables[-1].rows}
    assert sorted(seeds[arm] for arm in ARMS.values()) == ["1 of 2", "2"]
    assert f"{gone.params['label']}, seed 1" in page.missing
    table = readme.results_table(read_rows(place(output) / FILES[0]))
    assert sorted(line.split(" | ")[1] for line in table.splitlines()[2:]) == ["1 of 2", "2"]


def test_rows_of_another_results_version_are_left_out_and_replaced(store):
    output = store("first", 0)
    record(output)
    path, lines = place(output) / FILES[0], []
    rows = read_rows(path)
    write_rows([row | {"results.version": "0", "run_id": f"old{row['seed']}"} for row in rows], path)
    old = path.read_bytes()
    empty = store("empty")
    assert import_recorded(str(empty), VERSION, "smoke") == Imported(frozenset(), 0, 2)
    with pytest.raises(UserError, match="no finished runs"):
        write_record(str(empty), "smoke", version=VERSION)
    assert path.read_bytes() == old
    write_record(str(output), "smoke", version=VERSION, say=lines.append)
    assert lines == ["2 rows of another results version replaced"]
    assert read_rows(path) == rows


def test_an_import_that_was_cut_off_leaves_nothing_that_counts(store, monkeypatch):
    first, second = store("first", 0, 1), store("second")
    record(first)
    client = open_store(None, second)

    def killed(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(type(client), "set_terminated", killed)
        with pytest.raises(KeyboardInterrupt):
            import_recorded(str(second), VERSION)
    assert runs_of(second) == []
    assert len(read_runs(client, "sbp")) == 1
    assert import_recorded(str(second), VERSION).new == 4
    assert len(read_runs(client, "sbp", f"tags.{IMPORTED} = 'true'")) == 4
    assert import_recorded(str(second), VERSION).new == 0


def test_metrics_that_are_recorded_later_reach_runs_that_were_imported_before(store):
    first, second = store("first", 0), store("second")
    record(first)
    path = place(first) / FILES[1]
    whole = read_rows(path)
    write_rows([{k: v for k, v in row.items() if k != "train/share/healthy"} for row in whole], path)
    import_recorded(str(second), VERSION)
    assert "train/share/healthy" not in runs_of(second)[0].metrics
    write_rows(whole, path)
    import_recorded(str(second), VERSION)
    assert len(runs_of(second)[0].values("train/share/healthy")) > 1


@pytest.mark.parametrize(
    ("damage", "line"),
    [
        (lambda rows: [rows[0] | {"run_id": "x"}], r"curves_smoke.csv: is damaged, it has no [0-9a-f]{32}"),
        (lambda rows: [row | {"val/map": "<<<<"} for row in rows], r"curves_smoke.csv: is damaged: .*<<<<"),
        (lambda rows: [{"run_id": row["run_id"]} for row in rows], r"curves_smoke.csv: .* it has no step"),
    ],
)
def test_damaged_files_are_one_line_and_nothing_is_lost(store, damage, line):
    output = store("first", 0)
    record(output)
    path = place(output) / FILES[1]
    write_rows(damage(read_rows(path)), path)
    with pytest.raises(UserError, match=line) as error:
        import_recorded(str(output), VERSION)
    assert "\n" not in str(error.value)
