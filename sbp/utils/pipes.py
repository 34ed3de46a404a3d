"""A reader that goes away, as `head` does, ends no work: what is printed after that goes nowhere."""

import io
import os
import sys


def outlive_closed_pipes() -> None:
    """Call at the start of a process: what it writes to stdout or stderr once nobody reads there is dropped.

    Without it the first print after `head` has gone is an error in the middle of the work, and the
    interpreter complains once more at its end. To die of SIGPIPE, as small tools do, would lose the work. So
    the exit code is that of the work, as without a pipe. Terminals, and streams that somebody has put in the
    place of the process's own, are left alone.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is getattr(sys, f"__{name}__") and stream is not None and not stream.isatty():
            setattr(sys, name, _outliving(stream))


class _Outliving(io.FileIO):
    """A file descriptor that leads nowhere once its reader has gone."""

    def write(self, data) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())  # also for what writes there by itself: libraries, children
            os.close(nowhere)
            return len(memoryview(data).cast("B"))


def _outliving(stream: io.TextIOWrapper) -> io.TextIOWrapper:
    stream.flush()
    raw = _Outliving(stream.fileno(), "wb", closefd=False)
    unbuffered = isinstance(stream.buffer, io.RawIOBase)  # python -u
    return io.TextIOWrapper(
        raw if unbuffered else io.BufferedWriter(raw),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
