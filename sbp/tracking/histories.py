"""The metrics of recorded runs, each read when it is first asked for, of many runs at once.

A report asks one run after the other for the same dozen of hundreds of metrics, and most of what a request
takes is the same for one run and for a hundred.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from mlflow import MlflowClient

History = tuple[np.ndarray, np.ndarray]
Point = tuple[int, int, float]
"""Step, milliseconds since 1970, value."""
RUNS, POINTS = 100, 25_000
"""How many a server answers for in one request, and how many values of them together."""
BULK = "/ajax-api/2.0/mlflow/metrics/get-history-bulk"
"""The request by which MLflow's own pages read curves; its Python client has none for it."""


class Histories(Mapping[str, History]):
    """One run's metrics by key. keys: those that it has."""

    def __init__(self, reader: "HistoryReader", run_id: str):
        self.reader, self._run_id = reader, run_id
        self._keys = reader.keys[run_id]

    def __getitem__(self, key: str) -> History:
        if key not in self._keys:
            raise KeyError(key)
        return self.reader.read(self._run_id, key)

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)

    def __contains__(self, key: object) -> bool:
        return key in self._keys


class HistoryReader:
    """Reads a metric of a run together with that of the runs after it. keys: the metrics of each run."""

    def __init__(self, client: "MlflowClient", keys: Mapping[str, Sequence[str]]):
        self.client = client
        self.keys = {run_id: dict.fromkeys(of_run) for run_id, of_run in keys.items()}
        self.order = {run_id: place for place, run_id in enumerate(self.keys)}
        self.known: dict[str, dict[str, History]] = defaultdict(dict)
        self.bulk = True

    def read(self, run_id: str, key: str) -> History:
        """Steps and values of the metric, both (T,), in the order of steps. Raises what MLflow raises."""
        known = self.known[key]
        if run_id not in known:
            known |= self._read(self._group(run_id, key), key)
        return known[run_id]

    def _group(self, run_id: str, key: str) -> list[str]:
        """The run and those after it, in a circle, that have the metric and were not read yet."""
        runs, begin = list(self.keys), self.order[run_id]
        circle = runs[begin:] + runs[:begin]
        return [run for run in circle if key in self.keys[run] and run not in self.known[key]][:RUNS]

    def _read(self, runs: list[str], key: str) -> dict[str, History]:
        found = self._at_once(runs, key) if self.bulk and len(runs) > 1 else None
        if found is None:
            return {runs[0]: _history(_one(self.client, runs[0], key))}
        if sum(map(len, found.values())) >= POINTS:  # there are more
            return self._read(runs[: len(runs) // 2], key)
        return {run: _history(found.get(run, [])) for run in runs}

    def _at_once(self, runs: list[str], key: str) -> dict[str, list[Point]] | None:
        """The values of several runs; None where the store has no way to ask for them."""
        found: dict[str, list[Point]] = defaultdict(list)
        store = self.client._tracking_client.store
        if hasattr(store, "get_metric_history_bulk"):  # a database
            for m in store.get_metric_history_bulk(runs, key, POINTS):
                found[m.run_id].append((m.step, m.timestamp, m.value))
            return found
        if not hasattr(store, "get_host_creds"):
            self.bulk = False
            return None
        from mlflow.utils.rest_utils import http_request

        asked = [("metric_key", key), ("max_results", POINTS), *(("run_id", run) for run in runs)]
        answer = http_request(store.get_host_creds(), BULK, "GET", params=asked, raise_on_status=False)
        if answer.status_code != 200:  # one that keeps to the documented requests
            self.bulk = False
            return None
        for m in answer.json()["metrics"]:
            found[m["run_id"]].append((m["step"], m["timestamp"], m["value"]))
        return found


def _one(client: "MlflowClient", run_id: str, key: str) -> list[Point]:
    return [(m.step, m.timestamp, m.value) for m in client.get_metric_history(run_id, key)]


def _history(points: list[Point]) -> History:
    points = sorted(points)
    return np.array([p[0] for p in points]), np.array([p[2] for p in points])
