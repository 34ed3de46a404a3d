"""Signals that end a run, SIGTERM and SIGINT: between two steps, never in the middle of one."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType

_depth = 0
_pending: int | None = None
_raised: int | None = None


def install(*others: int) -> None:
    """Let SIGTERM raise SystemExit(143) and SIGINT KeyboardInterrupt, at once, or after the `defer_signals`
    block that they arrive in. A second signal in the same block ends the process without further ado.

    others: signals that raise SystemExit(128 + N) in the same way."""
    owner = os.getpid()

    def stop(signum: int, frame: FrameType | None) -> None:
        global _pending
        if os.getpid() != owner:  # a loader's worker inherited this: it has nothing to save
            os._exit(128 + signum)
        if not _depth:
            _raise(signum)
        elif _pending is not None:
            os._exit(128 + signum)
        _pending = signum

    with contextlib.suppress(ValueError):  # not in the main thread: somebody else minds the signals
        for number in (signal.SIGTERM, signal.SIGINT, *others):
            signal.signal(number, stop)


@contextlib.contextmanager
def defer_signals() -> Iterator[None]:
    """What happens inside happens as a whole: signals wait for its end."""
    global _depth, _pending
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _depth += 1
    try:
        yield
    finally:
        _depth -= 1
        if not _depth and _pending is not None:
            signum, _pending = _pending, None
            _raise(signum)


@contextlib.contextmanager
def at_once() -> Iterator[None]:
    """Inside, signals end the process without further ado: for a call that waits outside of Python, which
    would not see them, while there is nothing to save."""
    numbers = (signal.SIGTERM, signal.SIGINT)
    main = threading.current_thread() is threading.main_thread()
    before = {number: signal.signal(number, signal.SIG_DFL) for number in numbers if main}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def raised() -> int | None:
    """The last signal that was raised, whatever became of the exception; None if there was none."""
    return _raised


def _raise(signum: int) -> None:
    global _raised
    _raised = signum
    if signum == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(128 + signum)
