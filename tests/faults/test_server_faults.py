"""`make server` with eight jobs at once: whatever of it goes down, everything arrives once."""

import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient

from experiments.server.mlflow_server import MlflowServer, check_driver, check_port
from experiments.server.postgres import Postgres, programs
from sbp.errors import UserError
from sbp.tracking.outbox import Outbox
from sbp.tracking.runs import RecordedRun, read_runs
from tests.faults.harness import (
    Victim,
    assert_same_record,
    epochs,
    files,
    prepared,
    recorded,
    run_folders,
    sync,
)
from tests.processes import ROOT, free_port, surroundings

JOBS = 8
AWAY_S = 3.0
"""How long what was hurt stays away."""

pytestmark = pytest.mark.faults


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder that PostgreSQL's user may enter, which those of pytest are not."""
    try:
        check_driver()
        programs()
    except UserError as error:
        pytest.skip(str(error))
    made = Path(tempfile.mkdtemp(prefix="sbp-server-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@pytest.fixture(scope="module")
def parts(folder) -> Iterator[tuple[Postgres, MlflowServer]]:
    """The database and the server, running."""
    place = folder / "parts"
    place.mkdir()
    with Postgres(place) as database, MlflowServer(place, database.uri, free_port()) as server:
        database.start()
        server.start()
        yield database, server


def nothing(database: Postgres, server: MlflowServer) -> None:
    """Everything stays up."""


def kill_server(database: Postgres, server: MlflowServer) -> None:
    server.kill()
    time.sleep(AWAY_S)
    server.start()


def kill_database(database: Postgres, server: MlflowServer) -> None:
    database.stop(signal.SIGKILL)
    time.sleep(AWAY_S)
    database.start()


def crash_database(database: Postgres, server: MlflowServer) -> None:
    """As an immediate shutdown does it: sessions are cut off, and the next start recovers."""
    database.stop(signal.SIGQUIT)
    time.sleep(AWAY_S)
    database.start()


def restart_database(database: Postgres, server: MlflowServer) -> None:
    database.stop()
    time.sleep(AWAY_S)
    database.start()


def kill_both(database: Postgres, server: MlflowServer) -> None:
    server.kill()
    database.stop(signal.SIGKILL)
    time.sleep(AWAY_S)
    database.start()
    server.start()


FAULTS: dict[str, Callable[[Postgres, MlflowServer], None]] = {
    "eight jobs at once on a server": nothing,
    "eight jobs: killed server": kill_server,
    "eight jobs: killed database": kill_database,
    "eight jobs: database shut down at once": crash_database,
    "eight jobs: database restarted": restart_database,
    "eight jobs: killed server and database": kill_both,
}


@pytest.mark.parametrize("name", FAULTS)
def test_eight_jobs_while_what_records_them_goes_down(undisturbed, parts, tmp_path, fault, name):
    """Hurt twice: when some have begun, and while the last ones are at work."""
    database, server = parts
    tally = fault(name)
    tally.tried(JOBS)
    prepared(undisturbed, tmp_path)
    where = ("tracking=server", f"tracking.uri={server.uri}", f"tracking.experiment={name.replace(':', '')}")
    victims = [Victim.start(tmp_path, *where, f"seed={seed}") for seed in range(JOBS)]

    def begun(count: int) -> bool:
        return sum(len(epochs(folder)) > 1 for folder in run_folders(tmp_path)) >= count

    for count in (1, JOBS):
        victims[0].wait_for(lambda count=count: begun(count) or all(v.poll() is not None for v in victims))
        FAULTS[name](database, server)
    assert [victim.wait(300) for victim in victims] == [0] * JOBS, victims[0].log.read_text()[-3000:]
    felt = any("MLflow cannot be reached" in victim.log.read_text() for victim in victims)
    assert felt == (FAULTS[name] is not nothing)
    left = sync(tmp_path)
    assert left.returncode == 0, left.stderr
    assert "everything is in MLflow" in sync(tmp_path).stdout
    runs = read_runs(MlflowClient(server.uri), where[-1].partition("=")[2])
    assert sorted((run.seed, run.status) for run in runs) == [(seed, "FINISHED") for seed in range(JOBS)]
    for run in runs:
        assert_arrived_once(run)
    assert runs[0].metrics.reader.bulk  # the server has answered for all runs at once
    assert_same_record(next(run for run in runs if run.seed == 0), recorded(undisturbed)[0])
    tally.survived(JOBS)


def assert_arrived_once(run: RecordedRun) -> None:
    """Every entry of the run's outbox is in MLflow, and nothing else."""
    metrics: dict[str, dict[int, float]] = {}
    artifacts = set()
    for entry in Outbox(run.folder).entries():
        content = entry.content
        if content["kind"] == "metrics":
            for key, value in content["values"].items():
                metrics.setdefault(key, {})[content["step"]] = value
        elif content["kind"] == "image":
            name = f"images/{content['key'].replace('/', '~')}+step+{content['step']}"
            artifacts |= {f"{name}.png", f"{name}.webp"}
        elif content["kind"] == "file":
            path = Path(content["folder"]) / Path(content["path"]).name
            artifacts.add(f"{path}{path.suffix}")  # as `files` has it
    assert set(run.metrics) == set(metrics)
    for key, values in metrics.items():
        steps, found = run.series(key)
        assert steps.tolist() == sorted(values), key
        assert found.tolist() == [values[step] for step in sorted(values)], key
    assert files(run) == sorted(artifacts)
    assert run.client is not None
    assert len(run.client.get_run(run.run_id).inputs.dataset_inputs) == 1


class Script:
    """`make server`, as a process of its own."""

    def __init__(self, folder: Path, port: int):
        command = [sys.executable, "-m", "experiments.server.run"]
        self.process = subprocess.Popen(
            [*command, "--folder", str(folder), "--port", str(port), "--workers", "1"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=ROOT,
            env=surroundings(folder),
        )
        self.lines: list[str] = []
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)

    def ready(self, timeout: float = 180) -> "Script":
        deadline = time.monotonic() + timeout
        while not any("sbp sync" in line for line in self.lines):
            assert self.process.poll() is None, self.lines
            assert time.monotonic() < deadline, self.lines
            time.sleep(0.1)
        return self

    def stop(self, how: int = signal.SIGINT) -> int:
        self.process.send_signal(how)
        return self.process.wait(60)


def test_the_script_is_stopped_and_killed_and_goes_on_with_its_data(folder, fault):
    tally = fault("make server stopped, killed and started again")
    tally.tried(2)
    place, port = folder / "script", free_port()
    script = Script(place, port).ready()
    client = MlflowClient(f"http://127.0.0.1:{port}")
    client.create_experiment("kept")
    second = Script(place, free_port())
    assert second.process.wait(60) == 2
    assert f"process {script.process.pid} serves it already" in "".join(second.lines)
    assert script.stop() == 0
    check_port(port)
    assert not (place / "database" / "postmaster.pid").exists()
    tally.survived()
    script = Script(place, port).ready()
    client.create_experiment("kept too")
    script.stop(signal.SIGKILL)
    with pytest.raises(UserError):
        check_port(port)  # what it has started goes on without it
    script = Script(place, port).ready()
    names = {experiment.name for experiment in client.search_experiments()}
    assert {"kept", "kept too"} <= names
    assert script.stop() == 0
    check_port(port)
    tally.survived()
