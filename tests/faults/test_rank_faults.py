"""Ranks of a distributed run killed: the run ends in one line, nobody is left behind, and it goes on."""

import os
import signal
import time

import pytest

from tests.faults.harness import (
    DISTRIBUTED,
    Victim,
    epochs,
    followers,
    recorded,
    run_folders,
    some_epochs,
    wait_until_gone,
)


@pytest.mark.faults
def test_a_rank_that_is_killed(tmp_path, fault):
    """The run ends within seconds and says so in one line; started again, it goes on and finishes."""
    tally = fault("rank of a distributed run killed")
    arguments = (*DISTRIBUTED, "trainer.processes=3", "budget.compute=12", "if_exists=resume")
    for attempt in range(2):
        victim = Victim.start(tmp_path, *arguments)
        assert victim.wait_for(lambda n=3 + 2 * attempt: some_epochs(tmp_path, n))
        tally.tried()
        left = followers(victim.pid)
        assert len(left) == 2
        os.kill(left[attempt], signal.SIGKILL)
        killed = time.monotonic()
        assert victim.wait() == 2, victim.log.read_text()[-2000:]
        assert time.monotonic() - killed < 20
        # the log has a line of each start
        said = [line for line in victim.log.read_text().splitlines() if "has ended with exit code" in line]
        assert len(said) == attempt + 1
        assert f"rank {attempt + 1} has ended with exit code -9" in said[attempt]
        assert "Traceback" not in victim.log.read_text()
        wait_until_gone(left)
    victim = Victim.start(tmp_path, *arguments)
    assert victim.wait() == 0, victim.log.read_text()[-2000:]
    (run,), (folder,) = recorded(tmp_path), run_folders(tmp_path)
    assert run.status == "FINISHED"
    assert [e["epoch"] for e in epochs(folder)] == list(range(len(epochs(folder))))
    tally.survived(2)


@pytest.mark.faults
def test_the_leading_rank_killed_leaves_nobody_behind(tmp_path, fault):
    tally = fault("leading rank of a distributed run killed")
    tally.tried()
    arguments = (*DISTRIBUTED, "trainer.processes=2", "budget.compute=60", "if_exists=resume")
    victim = Victim.start(tmp_path, *arguments)
    assert victim.wait_for(lambda: some_epochs(tmp_path, 2) and bool(followers(victim.pid)))
    left = followers(victim.pid)
    victim.kill()
    victim.wait()
    wait_until_gone(left)
    tally.survived()
