"""MLflow away, slow or crowded: training does not notice, and everything arrives once."""

import contextlib
import multiprocessing
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator

import pytest
from mlflow import MlflowClient

from experiments.server.mlflow_server import MlflowServer
from sbp.tracking.runs import read_runs
from sbp.tracking.store import open_store
from tests.faults.harness import (
    Victim,
    assert_same_metrics,
    assert_same_record,
    assert_same_weights,
    epochs,
    prepared,
    recorded,
    run_folders,
    sync,
)
from tests.processes import free_port


@pytest.fixture
def mlflow_server(tmp_path) -> Iterator[MlflowServer]:
    folder = tmp_path / "server"
    folder.mkdir()
    server = MlflowServer(folder, f"sqlite:///{folder}/server.db", free_port(), workers=1)
    yield server
    server.kill()


@pytest.mark.slow
def test_without_a_server_everything_stays_local_and_a_later_sync_is_complete(undisturbed, tmp_path, fault):
    """The store is moved away for the run's whole life: here, behind an address where nothing listens."""
    tally = fault("tracking server away for the whole run")
    tally.tried()
    output = prepared(undisturbed, tmp_path / "out")
    uri = f"http://user:secret@127.0.0.1:{free_port()}"
    victim = Victim.start(output, "tracking=server", f"tracking.uri={uri}", "tracking.patience_s=2")
    assert victim.wait() == 0
    text = victim.log.read_text()
    assert "MLflow cannot be reached" in text
    assert "nothing is lost, send the rest with: sbp sync" in text
    assert "secret" not in text
    (folder,), (expected,) = run_folders(output), run_folders(undisturbed)
    assert_same_weights(folder, expected)
    assert epochs(folder) == epochs(expected)
    for file in folder.iterdir():
        assert not file.is_file() or b"secret" not in file.read_bytes(), file
    refused = sync(output)
    assert refused.returncode == 2
    assert "its password is not kept; give the address as --uri" in refused.stderr
    tally.survived()


@pytest.mark.faults
def test_a_server_that_is_killed_and_comes_back(undisturbed, mlflow_server, tmp_path, fault):
    tally = fault("tracking server killed in the middle and started again")
    tally.tried()
    output = prepared(undisturbed, tmp_path / "out")
    mlflow_server.start()
    victim = Victim.start(output, "tracking=server", f"tracking.uri={mlflow_server.uri}")
    victim.wait_for(lambda: len(run_folders(output)) > 0)
    time.sleep(0.5)
    mlflow_server.kill()
    assert victim.wait() == 0
    (folder,) = run_folders(output)
    assert_same_weights(folder, run_folders(undisturbed)[0])
    mlflow_server.start()
    first, second = sync(output), sync(output)
    assert "entries sent" in first.stdout, first.stderr
    assert "everything is in MLflow" in second.stdout
    (run,) = read_runs(MlflowClient(mlflow_server.uri), "sbp")
    assert run.status == "FINISHED"
    assert_same_record(run, recorded(undisturbed)[0])
    tally.survived()


class SlowDoor:
    """Passes connections on to a port, each after some seconds."""

    def __init__(self, target: int, delay_s: float):
        self.target, self.delay_s = target, delay_s
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            with contextlib.suppress(OSError):
                client, _ = self.listener.accept()
                threading.Thread(target=self._connect, args=(client,), daemon=True).start()

    def _connect(self, client: socket.socket) -> None:
        time.sleep(self.delay_s)
        with contextlib.suppress(OSError):
            other = socket.create_connection(("127.0.0.1", self.target))
            threading.Thread(target=self._pipe, args=(client, other), daemon=True).start()
            self._pipe(other, client)

    @staticmethod
    def _pipe(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                time.sleep(0.1)
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)


@pytest.mark.faults
def test_a_slow_server_does_not_slow_training(undisturbed, mlflow_server, tmp_path, fault):
    tally = fault("tracking server slow")
    tally.tried()
    output = prepared(undisturbed, tmp_path / "out")
    mlflow_server.start()
    door = SlowDoor(mlflow_server.port, delay_s=0.5)
    uri = f"http://127.0.0.1:{door.port}"
    victim = Victim.start(output, "tracking=server", f"tracking.uri={uri}", "tracking.patience_s=5")
    assert victim.wait() == 0
    lines = epochs(run_folders(output)[0])
    assert lines == epochs(run_folders(undisturbed)[0])
    if "not everything is in MLflow" in victim.log.read_text():
        sync(output)
    (run,) = read_runs(MlflowClient(mlflow_server.uri), "sbp")
    assert_same_record(run, recorded(undisturbed)[0])
    tally.survived()


@pytest.mark.faults
def test_eight_runs_write_to_a_fresh_store_at_once(undisturbed, tmp_path, fault):
    tally = fault("eight runs start together on a fresh SQLite store")
    tally.tried(8)
    prepared(undisturbed, tmp_path)
    victims = [Victim.start(tmp_path, f"seed={seed}") for seed in range(8)]
    assert [victim.wait(300) for victim in victims] == [0] * 8, victims[0].log.read_text()[-3000:]
    runs = recorded(tmp_path)
    assert sorted(run.seed for run in runs) == list(range(8))
    for run in runs:
        assert run.status == "FINISHED"
        steps = run.series("train/loss")[0]
        assert steps.tolist() == list(range(len(epochs(run.folder))))
    same = next(run for run in runs if run.seed == 0)
    assert_same_record(same, recorded(undisturbed)[0])
    tally.survived(8)


@pytest.mark.slow
def test_sync_closes_a_run_whose_process_is_gone(undisturbed, tmp_path, fault):
    tally = fault("run killed and never resumed")
    tally.tried()
    prepared(undisturbed, tmp_path)
    victim = Victim.start(tmp_path)
    victim.wait_for(lambda: any(len(epochs(folder)) > 2 for folder in run_folders(tmp_path)))
    victim.kill()
    victim.wait()
    done = sync(tmp_path)
    assert done.returncode == 0, done.stderr
    (run,) = recorded(tmp_path)
    assert run.status == "KILLED"
    losses = [line["train/loss"] for line in epochs(run_folders(tmp_path)[0])]
    assert run.values("train/loss").tolist() in (losses, losses[:-1])
    tally.survived()


@pytest.mark.slow
def test_a_run_deleted_in_mlflow_is_recorded_again_when_it_is_resumed(undisturbed, tmp_path, fault):
    tally = fault("run deleted in MLflow before it is resumed")
    tally.tried()
    prepared(undisturbed, tmp_path)
    victim = Victim.start(tmp_path)
    victim.wait_for(lambda: any(run.series("val/map")[0].size > 1 for run in recorded(tmp_path)))
    victim.kill()
    victim.wait()
    (deleted,) = recorded(tmp_path)
    open_store(None, tmp_path).delete_run(deleted.run_id)
    assert "was deleted in MLflow, left alone" in sync(tmp_path).stdout
    assert Victim.start(tmp_path, "if_exists=resume").wait() == 0
    (run,) = recorded(tmp_path)
    assert (run.status, run.run_id == deleted.run_id) == ("FINISHED", False)
    assert_same_metrics(run, recorded(undisturbed)[0])
    tally.survived()


@pytest.mark.faults
def test_a_store_whose_making_is_killed_is_made_anew(tmp_path, fault):
    """MLflow creates its tables one by one; half of them would be a store that nobody can open."""
    tally = fault("SIGKILL while the MLflow store is made")
    context = multiprocessing.get_context("fork")
    for number, pause in enumerate((0.0, 0.1, 0.2, 0.4, 0.8, 1.2)):
        output = tmp_path / str(number)
        tally.tried()
        maker = context.Process(target=open_store, args=(None, output))
        maker.start()
        fresh = output / "mlflow" / ".mlflow.db.new"
        while not fresh.exists() and maker.is_alive():
            time.sleep(0.001)
        time.sleep(pause)
        os.kill(maker.pid, signal.SIGKILL)
        maker.join()
        client = open_store(None, output)
        assert client.create_experiment("after")
        assert not list((output / "mlflow").glob(".mlflow.db.new*"))
        tally.survived()
