"""Processes of sbp as users start them: forks of one that has imported everything, or a fresh interpreter."""

import atexit
import contextlib
import functools
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


class ForkServer:
    """A process that has imported everything and forks others; see tests.forkserver."""

    def __init__(self) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.forkserver"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
            cwd=ROOT,
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline().strip() == "ready"
        atexit.register(self.close)

    def close(self) -> None:
        """End it."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()

    def ask(self, command: dict):
        """The server's answer to a command."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


@functools.cache
def server() -> ForkServer:
    """The fork server of this process, started when it is first needed."""
    return ForkServer()


@dataclass
class Process:
    """A process of sbp. log: where it writes its errors."""

    pid: int
    log: Path

    def poll(self) -> int | None:
        """Its exit code, None while it runs, -N if signal N killed it."""
        return server().ask({"poll": self.pid})

    def wait(self, timeout: float = 120) -> int:
        deadline = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() > deadline:
                self.kill()
                raise TimeoutError(self.log.read_text()[-3000:])
            time.sleep(0.02)
        return code

    def signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)

    def wait_for(self, condition: Callable[[], bool], timeout: float = 60, pause: float = 0.002) -> bool:
        """Until the condition holds; False if the process ended before."""
        deadline = time.monotonic() + timeout
        while not condition():
            if self.poll() is not None:
                return condition()
            assert time.monotonic() < deadline, self.log.read_text()[-3000:]
            time.sleep(pause)
        return True


def start(
    module: str,
    *arguments: str,
    output: Path,
    log: Path,
    out: Path | None = None,
    cwd: Path = ROOT,
    copy_tables: bool = False,
    **environment: str,
) -> Process:
    """Fork a process that runs `main()` of a module.

    log: for its errors, and its output if out is None. copy_tables: see tests.forkserver.
    """
    command = {
        "module": module,
        "arguments": arguments,
        "environment": {**surroundings(output), **environment},
        "cwd": str(cwd),
        "out": str(out or log),
        "error": str(log),
        "copy_tables": copy_tables,
    }
    return Process(server().ask({"start": command}), log)


def surroundings(output: Path) -> dict[str, str]:
    """The environment of a process with its output folder at `output`."""
    return {**os.environ, "SBP_OUTPUT": str(output), "OMP_NUM_THREADS": "1"}


def _forked(module: str, *arguments: str, **keys) -> subprocess.CompletedProcess[str]:
    with tempfile.TemporaryDirectory() as folder:
        out, error = Path(folder, "out"), Path(folder, "error")
        code = start(module, *arguments, out=out, log=error, copy_tables=True, **keys).wait(timeout=300)
        return subprocess.CompletedProcess(arguments, code, out.read_text(), error.read_text())


def sbp(
    *arguments: str, output: Path, cwd: Path = ROOT, **environment: str
) -> subprocess.CompletedProcess[str]:
    """What `python -m sbp.train` does and says, with its output folder at `output`."""
    return _forked("sbp.train", *arguments, output=output, cwd=cwd, **environment)


def command(*arguments: str, output: Path) -> subprocess.CompletedProcess[str]:
    """What the command `sbp` does and says."""
    return _forked("sbp.cli.main", *arguments, output=output)


def fresh(
    module: str, *arguments: str, output: Path, cwd: Path = ROOT, timeout: int = 300
) -> subprocess.CompletedProcess[str]:
    """`python -m` of a module in an interpreter of its own, which has imported nothing."""
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        capture_output=True,
        text=True,
        env=surroundings(output),
        cwd=cwd,
        timeout=timeout,
    )
