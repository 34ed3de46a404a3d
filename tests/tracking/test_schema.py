"""A store of another MLflow version is named in one line, at once, by everything that would use it."""

import contextlib
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow.store.db.utils import _get_latest_schema_revision

from sbp.errors import UserError
from sbp.tracking.outbox import Outbox, OutboxTracker
from sbp.tracking.runs import read_runs
from sbp.tracking.schema import _installed, check_schema
from sbp.tracking.sender import Delivery, OutboxSender
from sbp.tracking.store import artifact_location, check_store, local_uri, open_store, reason
from sbp.tracking.sync import sync
from tests.processes import command, sbp

OLDER, UNKNOWN = "75868b020152", "abcdef123456"
HEAD = _get_latest_schema_revision()


def made_by_another(output: Path, revision: str, path: Path | None = None) -> Path:
    """The output folder, with a store that says it has another schema; path: of the store, if another."""
    path = path or output / "mlflow" / "mlflow.db"
    open_store(f"sqlite:///{path}", output)
    set_revision(path, revision)
    return output


def set_revision(path: Path, revision: str) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", [revision])
        connection.commit()


def line(output: Path, revision: str) -> str:
    """How what is said about a local store begins and ends."""
    age = {OLDER: "an older", UNKNOWN: "a newer"}[revision]
    return f"sbp: {local_uri(output)}: its schema {revision} is that of {age} MLflow, the installed MLflow "


def finished(folder: Path, output: Path) -> OutboxTracker:
    """A run that waits in its folder to be sent."""
    folder.mkdir(parents=True)
    tracker = OutboxTracker(Outbox(folder))
    tracker.begin("sbp", artifact_location(output), "a run", {})
    tracker.log_metrics({"x": 1.0}, 0)
    tracker.status("FINISHED")
    tracker.commit()
    return tracker


def test_the_installed_schema_is_what_mlflow_says_it_is():
    revisions, head = _installed()
    assert head == HEAD
    assert OLDER in revisions
    assert UNKNOWN not in revisions


COMMANDS = {
    "train": lambda output: sbp("scale=smoke", output=output),
    "sweep": lambda output: sbp("-m", "scale=smoke", "seed=0,1", output=output),
    "search": lambda output: sbp("-m", "scale=smoke", "optimizer.lr=interval(0.1,1)", output=output),
    "sync": lambda output: command("sync", output=output),
    "report": lambda output: command("report", output=output),
    "ui": lambda output: command("ui", output=output),
}


@pytest.mark.parametrize("revision", [OLDER, UNKNOWN])
@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_says_so_in_one_line_and_starts_nothing(name, revision, tmp_path):
    output = made_by_another(tmp_path / "out with spaces", revision)
    done = COMMANDS[name](output)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith(line(output, revision))
    assert f" has {HEAD}; " in done.stderr
    assert done.stderr.count("\n") == 1
    assert {path.name for path in output.iterdir()} == {"mlflow"}
    if revision == OLDER:
        assert done.stderr.endswith(f"back it up, then run: mlflow db upgrade '{local_uri(output)}'\n")
    else:
        assert "; install the MLflow that wrote it, or a newer one, or use another store" in done.stderr
        assert "upgrade" not in done.stderr


def test_a_run_that_is_not_recorded_needs_no_store(tmp_path):
    output = made_by_another(tmp_path, UNKNOWN)
    done = sbp("scale=smoke", "tracking=none", "budget.epochs=1", output=output)
    assert done.returncode == 0, done.stderr


def test_the_store_that_is_meant_is_looked_at(tmp_path):
    made_by_another(tmp_path, UNKNOWN, tmp_path / "other.db")
    check_store(None, tmp_path)
    with pytest.raises(UserError, match=r"^sqlite:///.*other\.db: its schema abcdef123456"):
        check_store(f"sqlite:///{tmp_path}/other.db", tmp_path)
    done = sbp("scale=smoke", f"tracking.uri=sqlite:///{tmp_path}/other.db", output=tmp_path / "out")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)


@pytest.mark.parametrize("content", [None, b"", b"no database"])
def test_what_is_no_store_of_mlflow_passes_and_is_not_made(content, tmp_path):
    path = tmp_path / "mlflow.db"
    if content is not None:
        path.write_bytes(content)
    check_schema(f"sqlite:///{path}", "")
    assert path.exists() == (content is not None)
    for uri in ("http://127.0.0.1:1", "databricks", "sqlite://", "postgresql"):
        check_schema(uri, "")


@pytest.mark.parametrize("revision", [OLDER, UNKNOWN])
def test_what_waits_to_be_sent_waits_until_the_store_fits(revision, tmp_path):
    finished(tmp_path / "runs" / "a", tmp_path)
    made_by_another(tmp_path, revision)
    content = (tmp_path / "runs/a/tracking.jsonl").read_bytes()
    done = command("sync", output=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(line(tmp_path, revision))
    assert done.stderr.count("\n") == 1
    assert (tmp_path / "runs/a/tracking.jsonl").read_bytes() == content
    set_revision(tmp_path / "mlflow" / "mlflow.db", HEAD)
    assert command("sync", output=tmp_path).returncode == 0
    (run,) = read_runs(open_store(None, tmp_path), "sbp")
    assert (run.status, run.last("x")) == ("FINISHED", 1.0)


def test_sync_says_so_of_a_store_that_has_everything_and_sends_to_the_others(tmp_path):
    made_by_another(tmp_path, UNKNOWN)
    uri = f"sqlite:///{tmp_path}/other.db"
    folder = tmp_path / "runs" / "a"
    folder.mkdir(parents=True)
    tracker = OutboxTracker(Outbox(folder))
    tracker.begin("sbp", artifact_location(tmp_path), "a run", {"tracking.uri": uri})
    tracker.status("FINISHED")
    tracker.commit()
    said = []
    with pytest.raises(UserError, match=r"mlflow\.db: its schema abcdef123456"):
        said += sync(tmp_path)
    assert len(read_runs(open_store(uri, tmp_path), "sbp")) == 1
    made_by_another(tmp_path, OLDER, tmp_path / "other.db")
    with pytest.raises(UserError) as error:
        list(sync(tmp_path))
    assert [OLDER in text for text in str(error.value).splitlines()] == [False, True]


def test_a_store_that_changes_while_a_run_is_sent_is_named_whole(tmp_path, caplog):
    tracker = finished(tmp_path / "runs" / "a", tmp_path)
    made_by_another(tmp_path, UNKNOWN)
    sender = OutboxSender(
        Delivery(tmp_path / "runs" / "a", lambda: open_store(None, tmp_path)), patience_s=0.1
    )
    sender.deliver(tracker.outbox.committed)
    assert sender.close() is False
    ending = "use another store, as in tracking.uri=sqlite:////FOLDER/mlflow.db"
    first, last = (record.getMessage() for record in caplog.records)
    assert first.endswith(ending)
    assert last.endswith(f"{ending}); nothing is lost, send the rest with: sbp sync")


def test_reasons_are_cut_between_words():
    assert reason(OSError("one\n two")) == "one two"
    text = reason(OSError("word " * 100), 52)
    assert text == "word " * 10 + "..."
    assert reason(UserError("word " * 100), 52) == ("word " * 100).strip()
    assert reason(ValueError()) == "ValueError"
    assert "secret" not in reason(OSError("http://user:secret@host refused"))


BEFORE = """
import sqlalchemy, sys
from alembic import command
from mlflow.store.db.utils import _get_alembic_config
from mlflow.store.tracking.dbmodels.initial_models import Base
engine = sqlalchemy.create_engine(sys.argv[1])
Base.metadata.create_all(engine)
config = _get_alembic_config(sys.argv[1])
with engine.begin() as connection:
    config.attributes["connection"] = connection
    command.upgrade(config, sys.argv[2])
"""


@pytest.mark.slow
def test_the_advice_for_an_older_store_mends_it(tmp_path):
    """One whose tables are really those of before; MLflow would change it unasked, without a backup."""
    (tmp_path / "mlflow").mkdir()
    uri = local_uri(tmp_path)
    subprocess.run([sys.executable, "-c", BEFORE, uri, "17e22815139b"], check=True, capture_output=True)
    with pytest.raises(UserError, match=r"mlflow db upgrade (.*)$"):
        open_store(None, tmp_path)
    upgrade = [sys.executable, "-m", "mlflow", "db", "upgrade", uri]
    subprocess.run(upgrade, check=True, capture_output=True)
    assert open_store(None, tmp_path).create_experiment("after")
