"""A job that its cluster is about to stop goes back into the queue; tests/engines: on a real SLURM."""

import subprocess
import sys

import pytest

from sbp.sweep import requeue
from tests.conftest import ROOT

QUEUED = """
import os, signal, sys
from sbp.sweep import requeue
from sbp.utils import signals
os.environ["SUBMITIT_EXECUTOR"] = "slurm"
def submitit(number, frame):
    print("asked", flush=True)
    if sys.argv[1] == "refused": raise RuntimeError("timed-out too many times")
    sys.exit(7)
submitit.__module__ = "submitit.core.job_environment"
signal.signal(signal.SIGUSR2, submitit)
for _ in range(2):  # a second job in the same process
    signals.install(*requeue.queue_warning())
try:
    with signals.defer_signals():
        os.kill(os.getpid(), signal.SIGTERM if sys.argv[1] == "terminated" else signal.SIGUSR2)
        print("step done", flush=True)
    print("too late")
except SystemExit as end:
    print("closed", end.code, flush=True)
    print("reason:", requeue.back_to_the_queue())
"""


@pytest.mark.parametrize(
    ("case", "said", "code"),
    [
        ("granted", "step done|closed 140|asked", 7),
        ("refused", "step done|closed 140|asked|reason: timed-out too many times", 0),
        ("terminated", "step done|closed 143|reason:", 0),
    ],
)
def test_a_warning_of_the_queue_ends_the_run_between_two_steps_and_then_asks_submitit(case, said, code):
    done = subprocess.run([sys.executable, "-c", QUEUED, case], cwd=ROOT, capture_output=True, text=True)
    assert [line.strip() for line in done.stdout.splitlines()] == said.split("|"), done.stderr
    assert done.returncode == code


def test_outside_a_queue_no_further_signal_is_taken(monkeypatch):
    monkeypatch.delenv("SUBMITIT_EXECUTOR", raising=False)
    assert requeue.queue_warning() == []
    assert requeue.back_to_the_queue() == ""
