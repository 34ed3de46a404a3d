"""Signals wait for what must not be cut in two."""

import subprocess
import sys
import time

import pytest

from tests.conftest import ROOT

SCRIPT = """
import os, signal, sys, time
from sbp.utils import signals
signals.install()
print("go", flush=True)
try:
    {body}
    print("not interrupted", flush=True)
except (KeyboardInterrupt, SystemExit) as error:
    print("interrupted by", type(error).__name__, flush=True)
    sys.exit(130 if isinstance(error, KeyboardInterrupt) else error.code)
"""
INSIDE = """with signals.defer_signals():
        with signals.defer_signals():
            os.kill(os.getpid(), signal.{name})
            time.sleep(0.05)
        print("inner done", flush=True)
        {more}
        print("whole", flush=True)"""


def run(body: str) -> tuple[list[str], int]:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(body=body)], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    return done.stdout.split("\n")[1:-1], done.returncode


@pytest.mark.parametrize(
    ("name", "error", "code"), [("SIGTERM", "SystemExit", 143), ("SIGINT", "KeyboardInterrupt", 130)]
)
def test_a_signal_ends_the_process_after_the_critical_block(name, error, code):
    lines, returned = run(INSIDE.format(name=name, more="pass"))
    assert lines == ["inner done", "whole", f"interrupted by {error}"]
    assert returned == code


def test_outside_it_ends_at_once():
    lines, returned = run("os.kill(os.getpid(), signal.SIGTERM)")
    assert lines == ["interrupted by SystemExit"]
    assert returned == 143


def test_a_second_signal_does_not_wait():
    more = "os.kill(os.getpid(), signal.SIGTERM)"
    started = time.monotonic()
    lines, returned = run(INSIDE.format(name="SIGTERM", more=more))
    assert lines == ["inner done"]
    assert returned == 143
    assert time.monotonic() - started < 30


def test_a_signal_that_a_library_turns_into_an_error_still_counts():
    """As OmegaConf does, where a signal meets it in the middle of a composition."""
    body = (
        "import sbp.train\n"
        "    def fails():\n"
        "        try:\n"
        "            os.kill(os.getpid(), signal.{name})\n"
        "        except BaseException:\n"
        "            sys.exit(1)\n"
        "    sbp.train._main = fails\n"
        "    sbp.train.main()"
    )
    assert run(body.format(name="SIGINT"))[1] == 130
    assert run(body.format(name="SIGTERM"))[1] == 143
    assert run(body.replace("os.kill(os.getpid(), signal.{name})", "raise ValueError"))[1] == 1


def test_a_thread_may_use_it_too():
    body = (
        "import threading\n"
        "    thread = threading.Thread(target=lambda: signals.defer_signals().__enter__())\n"
        "    thread.start()\n"
        "    thread.join()"
    )
    assert run(body) == (["not interrupted"], 0)
