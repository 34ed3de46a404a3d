"""Reading metrics of many runs at once says what reading them one by one says, in fewer requests."""

from types import SimpleNamespace

import numpy as np
import pytest
from mlflow import MlflowClient
from mlflow.entities import Metric
from mlflow.utils import rest_utils

from sbp.tracking import histories
from sbp.tracking.runs import RecordedRun, read_runs
from sbp.tracking.store import open_store

RUNS, STEPS = 5, 7


def value(run: int, step: int) -> float:
    return run + step / 10


@pytest.fixture
def client(tmp_path) -> MlflowClient:
    """A store with runs that have `loss`, logged last step first; the even ones also have `map`."""
    client = open_store(None, tmp_path)
    experiment = client.create_experiment("sbp")
    for run in range(RUNS):
        made = client.create_run(experiment, start_time=run + 1, run_name=str(run)).info.run_id
        points = [Metric("loss", value(run, step), 9 - step, step) for step in reversed(range(STEPS))]
        client.log_batch(made, metrics=points + [Metric("map", 0.5, 0, 3)] * (run % 2 == 0))
        client.set_terminated(made)
    return client


@pytest.fixture
def asked(client, monkeypatch) -> list[int]:
    """How many runs each request was for."""
    store = client._tracking_client.store
    real_one, real_bulk, seen = store.get_metric_history, store.get_metric_history_bulk, []
    monkeypatch.setattr(store, "get_metric_history", lambda *a, **k: seen.append(1) or real_one(*a, **k))
    monkeypatch.setattr(
        store, "get_metric_history_bulk", lambda ids, *a: seen.append(len(ids)) or real_bulk(ids, *a)
    )
    return seen


def assert_right(runs: list[RecordedRun]) -> None:
    for number, run in enumerate(runs):
        steps, values = run.series("loss")
        assert steps.tolist() == list(range(STEPS))
        assert values.tolist() == [value(number, step) for step in range(STEPS)]


def test_one_request_reads_a_metric_of_all_runs(client, asked):
    runs = read_runs(client, "sbp")
    assert asked == []
    assert_right(runs)
    assert_right(runs)
    assert asked == [RUNS]
    assert [run.values("map").tolist() for run in runs] == [[0.5], [], [0.5], [], [0.5]]
    assert asked == [RUNS, 3]


def test_at_most_so_many_runs_are_in_one_request(client, asked, monkeypatch):
    monkeypatch.setattr(histories, "RUNS", 2)
    runs = read_runs(client, "sbp")
    np.testing.assert_array_equal(runs[3].values("loss"), [value(3, step) for step in range(STEPS)])
    assert_right(runs)
    assert asked == [2, 2, 1]


@pytest.mark.parametrize("points", [1, STEPS, 2 * STEPS, 3 * STEPS, RUNS * STEPS, RUNS * STEPS + 1])
def test_an_answer_that_is_cut_off_is_asked_for_in_parts(client, asked, monkeypatch, points):
    monkeypatch.setattr(histories, "POINTS", points)
    assert_right(read_runs(client, "sbp"))


class Server:
    """A client of a server: it has a database behind it, and answers the request for many runs, or not."""

    def __init__(self, client: MlflowClient, status: int):
        self.store, self.status = client._tracking_client.store, status
        self.get_metric_history, self.search_runs = client.get_metric_history, client.search_runs
        self.get_experiment_by_name = client.get_experiment_by_name
        self._tracking_client = SimpleNamespace(store=SimpleNamespace(get_host_creds=lambda: "host"))
        self.requests = 0

    def http_request(self, host_creds, endpoint, method, params, raise_on_status):
        self.requests += 1
        given = dict(params)
        runs = [text for key, text in params if key == "run_id"]
        found = self.store.get_metric_history_bulk(runs, given["metric_key"], given["max_results"])
        return SimpleNamespace(
            status_code=self.status, json=lambda: {"metrics": [m.to_dict() for m in found]}
        )


@pytest.mark.parametrize(("status", "singly"), [(200, 0), (404, RUNS), (403, RUNS)])
def test_a_server_that_does_not_answer_for_many_runs_is_asked_one_by_one(client, monkeypatch, status, singly):
    server = Server(client, status)
    monkeypatch.setattr(rest_utils, "http_request", server.http_request)
    alone = []
    real = server.get_metric_history
    server.get_metric_history = lambda *a: alone.append(a) or real(*a)
    assert_right(read_runs(server, "sbp"))
    assert (server.requests, len(alone)) == (1, singly)
