"""A job that its cluster is about to stop: its run is closed, and the job goes back into the queue."""

import os
import signal
from collections.abc import Callable

from sbp.utils import signals

_requeue: Callable[[int, None], object] | None = None
"""What submitit does at the signal."""


def queue_warning() -> list[int]:
    """The signal that tells a job of a cluster's queue that it will be stopped, as its time is nearly up or
    others want the node; none outside jobs of submitit, which has a handler for it."""
    global _requeue
    if "SUBMITIT_EXECUTOR" not in os.environ:
        return []
    number = getattr(signal, "SIG" + os.environ.get("SUBMITIT_PREEMPT_SIGNAL", "USR2"), None)
    handler = signal.getsignal(number) if number else None
    if callable(handler) and handler.__module__.startswith("submitit."):
        _requeue = handler
    return [number] if _requeue and number else []


def back_to_the_queue() -> str:
    """After that signal, when the run is closed: leave the job to submitit, which puts it back into the queue
    and ends this process. Returns why it does not; empty if it was another signal."""
    number = signals.raised()
    if _requeue is None or number not in queue_warning():
        return ""
    try:
        _requeue(number, None)
    except Exception as error:  # it was in the queue too often
        return str(error)
    return ""
