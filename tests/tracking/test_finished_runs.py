"""Which finished run serves instead of a new one."""

import pytest

from sbp.tracking.runs import find_finished
from sbp.tracking.store import artifact_location, experiment_id, open_store

RUNS = {
    "shared": ("FINISHED", {"fingerprint": "a", "exclusive": "false"}),
    "exclusive": ("FINISHED", {"fingerprint": "b", "exclusive": "true"}),
    "exclusive, then shared": ("FINISHED", {"fingerprint": "b", "exclusive": "false"}),
    "recorded before": ("FINISHED", {"fingerprint": "c", "alone": "true"}),
    "failed": ("FAILED", {"fingerprint": "d", "exclusive": "true"}),
}


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    output = tmp_path_factory.mktemp("store")
    client = open_store(None, output)
    experiment = experiment_id(client, "sbp", artifact_location(output))
    for number, (name, (status, tags)) in enumerate(RUNS.items()):
        run = client.create_run(experiment, start_time=number, run_name=name, tags=tags)
        client.set_terminated(run.info.run_id, status)
    return client


@pytest.mark.parametrize(
    ("fingerprint", "any_run", "exclusive_run"),
    [
        ("a", "shared", None),
        ("b", "exclusive, then shared", "exclusive"),
        ("c", "recorded before", "recorded before"),
        ("d", None, None),
        ("e", None, None),
    ],
)
def test_an_exclusive_run_is_only_served_by_an_exclusive_one(client, fingerprint, any_run, exclusive_run):
    for exclusive, expected in ((False, any_run), (True, exclusive_run)):
        run = find_finished(client, "sbp", fingerprint, exclusive)
        assert (run and run.name) == expected
