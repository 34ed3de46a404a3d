"""A run's outbox: what is final stays, what is not is taken back, and everything arrives once."""

import json
import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from mlflow.exceptions import MlflowException
from PIL import Image

from sbp.errors import UserError
from sbp.tracking.outbox import Outbox, OutboxTracker
from sbp.tracking.runs import read_runs
from sbp.tracking.sender import Delivery, OutboxSender
from sbp.tracking.store import artifact_location, open_store
from sbp.tracking.sync import sync
from sbp.utils.files import FolderHeld, is_held, sole_writer


def kinds(outbox: Outbox) -> list[str]:
    return [entry.content["kind"] for entry in outbox.entries()]


def begun(folder: Path, output: Path) -> OutboxTracker:
    folder.mkdir(parents=True, exist_ok=True)
    tracker = OutboxTracker(Outbox(folder))
    tracker.begin("sbp", artifact_location(output), "a run", {"a": 1})
    return tracker


def test_what_was_not_committed_is_taken_back(tmp_path):
    tracker = begun(tmp_path, tmp_path)
    tracker.log_metrics({"x": 1.0}, 0)
    tracker.commit()
    tracker.log_metrics({"x": 2.0}, 1)
    outbox = Outbox(tmp_path)
    assert kinds(outbox) == ["run", "metrics"]
    assert outbox.last_step == 0
    outbox.rollback()
    tracker = OutboxTracker(outbox)
    tracker.status("KILLED")
    tracker.commit()
    assert kinds(outbox) == ["run", "metrics", "status"]
    assert outbox.status == "KILLED"


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_half_a_line_at_the_end_is_passed_over(tmp_path, cut):
    tracker = begun(tmp_path, tmp_path)
    tracker.commit()
    size = tracker.outbox.path.stat().st_size
    tracker.log_metrics({"x": 2.0}, 1)
    content = tracker.outbox.path.read_bytes()
    tracker.outbox.path.write_bytes(content[: size + cut])
    outbox = Outbox(tmp_path)
    assert kinds(outbox) == ["run"]
    outbox.rollback()
    assert outbox.path.stat().st_size == size


def fill(tracker: OutboxTracker, epochs: int) -> None:
    for step in range(epochs):
        tracker.log_image("loss_hist", np.full((20, 30, 3), step, np.uint8), step)
        tracker.log_metrics({"x": step / 3, "not a number": float("nan")}, step)
        tracker.commit()
    tracker.status("FINISHED")
    tracker.commit()


class Flaky:
    """A client whose every call fails after it has arrived, a number of times."""

    def __init__(self, client, failures: int):
        self.client, self.left = client, failures

    def __getattr__(self, name):
        method = getattr(self.client, name)

        def call(*arguments, **named):
            result = method(*arguments, **named)
            if name in ("create_run", "log_batch", "log_image", "set_terminated") and self.left > 0:
                self.left -= 1
                raise OSError("the answer was lost")
            return result

        return call


@pytest.mark.parametrize("failures", [0, 1, 7])
def test_entries_arrive_once_even_where_answers_are_lost(tmp_path, failures):
    output, folder = tmp_path / "out", tmp_path / "run"
    tracker = begun(folder, output)
    fill(tracker, 3)
    client = open_store(None, output)
    flaky = Flaky(client, failures)
    for _ in range(failures + 1):
        delivery = Delivery(folder, lambda: flaky)
        try:
            delivery.send(tracker.outbox.committed)
        except OSError:
            continue
    (run,) = read_runs(client, "sbp")
    assert run.status == "FINISHED"
    assert run.series("x")[0].tolist() == [0, 1, 2]
    assert run.series("x")[1].tolist() == [0, 1 / 3, 2 / 3]
    pictures = [
        file.path for file in client.list_artifacts(run.run_id, "images") if file.path.endswith(".png")
    ]
    assert len(pictures) == 3
    assert not list(folder.glob("unsent*"))


@pytest.mark.parametrize("what_is_left", ["one file", "half a file", "both"])
def test_a_picture_that_arrived_in_part_is_completed(tmp_path, what_is_left):
    """MLflow keeps a picture as two files; whoever writes them can be killed at any moment."""
    output, folder = tmp_path / "out", tmp_path / "run"
    tracker = begun(folder, output)
    tracker.log_image("loss_hist", np.full((20, 30, 3), 9, np.uint8), 4)
    tracker.commit()
    client = open_store(None, output)
    run, image = tracker.outbox.entries()
    Delivery(folder, lambda: client).send(run.end)
    (recorded,) = read_runs(client, "sbp")
    with Image.open(folder / image.content["path"]) as picture:
        client.log_image(recorded.run_id, picture, key="loss_hist", step=4, timestamp=image.content["time"])
    (place,) = output.glob("mlflow/artifacts/*/artifacts/images")
    (large,), (small,) = place.glob("*.png"), place.glob("*.webp")
    if what_is_left == "one file":
        small.unlink()
    elif what_is_left == "half a file":
        os.truncate(small, 20)
        os.truncate(large, 20)
    Delivery(folder, lambda: client).send(tracker.outbox.committed)
    assert sorted(place.iterdir()) == sorted([large, small])
    for path in (large, small):
        with Image.open(path) as picture:
            assert np.asarray(picture).mean() == pytest.approx(9, abs=1)
    assert not list(folder.glob("unsent*"))


def test_a_store_that_hangs_does_not_hold_up_the_run(tmp_path, caplog):
    tracker = begun(tmp_path, tmp_path)
    fill(tracker, 2)
    forever = threading.Event()

    def hang():
        forever.wait()

    started = time.monotonic()
    sender = OutboxSender(Delivery(tmp_path, hang), patience_s=0.5)
    sender.deliver(tracker.outbox.committed)
    assert sender.close() is False
    assert time.monotonic() - started < 5
    assert "send the rest with: sbp sync" in caplog.text
    forever.set()


@pytest.mark.parametrize("content", ["", "{", "{}"])
def test_a_state_lost_with_the_machine_doubles_nothing(tmp_path, content):
    output, folder = tmp_path / "out", tmp_path / "run"
    tracker = begun(folder, output)
    fill(tracker, 3)
    client = open_store(None, output)
    before = {path.name: path.read_bytes() for path in folder.glob("unsent*")}
    Delivery(folder, lambda: client).send(tracker.outbox.committed)
    for name, picture in before.items():
        (folder / name).write_bytes(picture)
    (folder / "tracking.state.json").write_text(content)
    Delivery(folder, lambda: client).send(tracker.outbox.committed)
    (run,) = read_runs(client, "sbp")
    assert run.series("x")[0].tolist() == [0, 1, 2]
    assert len(list(output.glob("mlflow/artifacts/*/artifacts/images/*.png"))) == 3
    assert not list(folder.glob("unsent*"))


def test_a_sender_that_was_cut_off_resumes_where_it_was(tmp_path):
    output, folder = tmp_path / "out", tmp_path / "run"
    tracker = begun(folder, output)
    fill(tracker, 5)
    client = open_store(None, output)
    first = Delivery(folder, lambda: client)
    middle = [entry.end for entry in tracker.outbox.entries()][4]
    first.send(middle)
    assert json.loads((folder / "tracking.state.json").read_text())["sent"] == middle
    Delivery(folder, lambda: client).send(tracker.outbox.committed)
    (run,) = read_runs(client, "sbp")
    assert run.series("x")[0].tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("damage", [b"\x00" * 20, b"[1, 2]", b'{"no": "kind"}'])
def test_a_damaged_outbox_is_named_and_holds_up_no_other(tmp_path, damage):
    for name in "abc":
        fill(begun(tmp_path / name, tmp_path), 1)
    path = tmp_path / "b" / "tracking.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0], damage + b"\n", *lines[1:]]))
    sent = []
    with pytest.raises(UserError) as error:
        sent.extend(sync(tmp_path))
    assert str(error.value).startswith(
        f"{path}: damaged before byte {len(lines[0]) + len(damage) + 1}; move it"
    )
    assert "\n" not in str(error.value)
    assert len(read_runs(open_store(None, tmp_path), "sbp")) == 2


def test_a_run_whose_outbox_was_moved_away_is_recorded_as_a_new_one(tmp_path):
    output, folder = tmp_path / "out", tmp_path / "run"
    fill(begun(folder, output), 3)
    client = open_store(None, output)
    Delivery(folder, lambda: client).send(Outbox(folder).committed)
    (folder / "tracking.jsonl").unlink()
    fill(begun(folder, output), 1)
    (first,) = read_runs(client, "sbp")
    Delivery(folder, lambda: client).send(Outbox(folder).committed)
    second = next(run for run in read_runs(client, "sbp") if run.run_id != first.run_id)
    assert second.series("x")[0].tolist() == [0]
    assert first.series("x")[0].tolist() == [0, 1, 2]


def test_a_run_deleted_in_mlflow_is_left_alone_and_holds_up_no_other(tmp_path):
    client = open_store(None, tmp_path)
    tracker = begun(tmp_path / "a", tmp_path)
    tracker.commit()
    Delivery(tmp_path / "a", lambda: client).send(tracker.outbox.committed)
    (run,) = read_runs(client, "sbp")
    client.delete_run(run.run_id)
    fill(tracker, 2)
    fill(begun(tmp_path / "b", tmp_path), 2)
    said = list(sync(tmp_path))
    assert said[0] == f"{tmp_path / 'a'}: was deleted in MLflow, left alone"
    assert said[1].endswith("entries sent")
    assert [run.status for run in read_runs(client, "sbp")] == ["FINISHED"]


def test_two_syncs_at_once_send_everything_once(tmp_path):
    for number in range(3):
        fill(begun(tmp_path / "runs" / str(number), tmp_path), 2)
    open_store(None, tmp_path)
    said: list[str] = []

    def send() -> None:
        said.extend(sync(tmp_path))

    senders = [threading.Thread(target=send) for _ in range(2)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    said += sync(tmp_path)
    runs = read_runs(open_store(None, tmp_path), "sbp")
    assert len(runs) == 3
    assert sum("entries sent" in line for line in said) == 3
    for run in runs:
        pictures = [f.path for f in run.client.list_artifacts(run.run_id, "images")]
        assert len(pictures) == len({path.split("timestamp")[0] + path[-4:] for path in pictures})


class Held:
    """A client whose pictures are slow: they wait until `go`."""

    def __init__(self, client):
        self.client, self.waits, self.go = client, threading.Event(), threading.Event()

    def __getattr__(self, name):
        return getattr(self.client, name)

    def log_image(self, *arguments, **named):
        self.waits.set()
        assert self.go.wait(30)
        self.client.log_image(*arguments, **named)


def test_a_run_that_is_resumed_while_it_is_synced_is_sent_once(tmp_path, monkeypatch, caplog):
    """Whoever comes second waits, and goes on where the first one stopped; training does not wait."""
    tracker = begun(tmp_path, tmp_path)
    tracker.log_image("loss_hist", np.zeros((20, 30, 3), np.uint8), 0)
    tracker.log_metrics({"x": 0.0}, 0)
    tracker.commit()
    client = open_store(None, tmp_path)
    slow = Held(client)
    monkeypatch.setattr("sbp.tracking.sync.open_store", lambda *_: slow)
    syncing = threading.Thread(target=lambda: list(sync(tmp_path)))
    syncing.start()
    assert slow.waits.wait(30)

    resumed = OutboxTracker(Outbox(tmp_path))  # the sync has said KILLED for it by now
    sender = OutboxSender(Delivery(tmp_path, lambda: client), patience_s=30)
    resumed.on_commit = sender.deliver
    resumed.status("RUNNING")
    resumed.log_image("loss_hist", np.zeros((20, 30, 3), np.uint8), 1)
    resumed.log_metrics({"x": 1.0}, 1)
    resumed.status("FINISHED")
    resumed.commit()
    time.sleep(0.2)
    assert [run.status for run in read_runs(client, "sbp")] == ["RUNNING"]
    slow.go.set()
    assert sender.close() is True
    syncing.join()
    (run,) = read_runs(client, "sbp")
    assert run.status == "FINISHED"
    assert run.series("x")[1].tolist() == [0, 1]
    pictures = [f.path for f in client.list_artifacts(run.run_id, "images") if f.path.endswith(".png")]
    assert len(pictures) == 2
    assert "cannot be reached" not in caplog.text


def test_a_look_at_a_folder_does_not_keep_a_run_from_starting(tmp_path):
    """`sbp sync` and sweeps take a folder's lock for a moment to see whether it is free."""
    held, done = threading.Event(), threading.Event()

    def look() -> None:
        with sole_writer(tmp_path):
            held.set()
            done.wait(0.3)

    looking = threading.Thread(target=look)
    looking.start()
    assert held.wait(10)
    with sole_writer(tmp_path):
        assert is_held(tmp_path)
    looking.join()
    with sole_writer(tmp_path), pytest.raises(FolderHeld, match="another run"):  # noqa: SIM117
        with sole_writer(tmp_path, patience_s=0.1):
            pass


class Raced:
    """A client of a store where another run notes the same data set just before this one."""

    def __init__(self, client):
        self.client, self.times = client, 0

    def __getattr__(self, name):
        return getattr(self.client, name)

    def log_inputs(self, *arguments):
        self.times += 1
        if self.times == 1:
            raise MlflowException("(sqlite3.IntegrityError) UNIQUE constraint failed: datasets.name")
        self.client.log_inputs(*arguments)


def test_runs_that_note_one_data_set_at_the_same_moment_warn_of_nothing(tmp_path, caplog):
    tracker = begun(tmp_path, tmp_path)
    tracker.log_data("parts", "0123", tmp_path, {"train": 3})
    tracker.commit()
    client = open_store(None, tmp_path)
    sender = OutboxSender(Delivery(tmp_path, lambda: Raced(client)), patience_s=10)
    sender.deliver(tracker.outbox.committed)
    assert sender.close() is True
    assert not caplog.records
    (run,) = client.search_runs([client.get_experiment_by_name("sbp").experiment_id])
    assert [used.dataset.name for used in run.inputs.dataset_inputs] == ["parts"]
