"""Processes of sbp as users start them: forks of one that has imported everything, or a fresh interpreter."""

import atexit
import contextlib
import functools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


ADDRESS = "SBP_TEST_FORKSERVER"
"""The environment variable with the socket of the fork server that all testing processes share."""


def start_server() -> None:
    """Start the fork server of this process and those below it; it is ready a while later, see
    tests.forkserver."""
    folder = tempfile.mkdtemp()
    os.environ[ADDRESS] = os.path.join(folder, "socket")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tests.forkserver", os.environ[ADDRESS]]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, env=environment, cwd=ROOT)

    def close() -> None:
        assert process.stdin is not None
        process.stdin.close()
        process.wait()
        shutil.rmtree(folder)

    atexit.register(close)


class ForkServer:
    """A connection to the process that has imported everything and forks others."""

    def __init__(self) -> None:
        if ADDRESS not in os.environ:
            start_server()
        connection, deadline = socket.socket(socket.AF_UNIX), time.monotonic() + 300
        while connection.connect_ex(os.environ[ADDRESS]):
            assert time.monotonic() < deadline, "the fork server does not start"
            time.sleep(0.1)
        self.file = connection.makefile("rw")

    def ask(self, command: dict):
        """The server's answer to a command."""
        print(json.dumps(command), file=self.file, flush=True)
        return json.loads(self.file.readline())


@functools.cache
def server() -> ForkServer:
    """This process's connection, made when it is first needed."""
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


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


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
