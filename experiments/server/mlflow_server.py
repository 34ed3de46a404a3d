"""`mlflow server` on the loopback address, with a database and a folder of artifacts."""

import contextlib
import http.client
import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from sbp.errors import UserError
from sbp.utils.signals import defer_signals

HOST = "127.0.0.1"
WORKERS = 2
"""Processes that answer requests, some 300 MB each."""


class MlflowServer:
    """The server in `folder`, which holds its artifacts and its log. It can be started, stopped and killed as
    often as one likes; a context, at whose end it is stopped."""

    def __init__(self, folder: Path, database: str, port: int, workers: int = WORKERS):
        self.folder, self.log = folder, folder / "mlflow.log"
        self.number = folder / "mlflow.pid"  # that of its process, which holds a lock on it
        self.database, self.port, self.workers = database, port, workers
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def uri(self) -> str:
        """Its address."""
        return f"http://{HOST}:{self.port}"

    def __enter__(self) -> "MlflowServer":
        return self

    def __exit__(self, *_: object) -> None:
        with defer_signals():
            self.stop()

    def start(self, patience_s: float = 180) -> None:
        """Start it and wait until it answers; on a fresh database it makes its tables first. Raises UserError
        if its port is taken or it does not come up."""
        import fcntl

        self.claim_port()
        place = ["--host", HOST, "--port", str(self.port), "--workers", str(self.workers)]
        artifacts = ["--serve-artifacts", "--artifacts-destination", (self.folder / "artifacts").as_uri()]
        quiet = ["--uvicorn-opts", "--log-level warning"]  # else a line for each request
        with open(self.log, "ab") as log, open(self.number, "w") as number, defer_signals():
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.process = subprocess.Popen(
                [sys.executable, "-m", "mlflow", "server", *place, *artifacts, *quiet],
                env=self._environment(),
                cwd=self.folder,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is ours; and all its workers can be killed at once
                pass_fds=(number.fileno(),),
            )
            number.write(str(self.process.pid))
        deadline = time.monotonic() + patience_s
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise UserError(f"the MLflow server does not start, see {self.log}")
            time.sleep(0.2)

    def claim_port(self) -> None:
        """End the server that a `make server` of this folder has left when it was killed. Raises UserError if
        somebody else listens at the port."""
        import fcntl

        with open(self.number, "a+") as number:
            try:
                fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                number.seek(0)
                self._kill_group(int(number.read()))
                fcntl.flock(number, fcntl.LOCK_EX)
        check_port(self.port)

    def answers(self) -> bool:
        """Whether it takes requests."""
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection(HOST, self.port, timeout=5)
            with contextlib.closing(connection):
                connection.request("GET", "/health")
                return connection.getresponse().status == 200
        return False

    def stop(self, patience_s: float = 15) -> None:
        """Let it answer what it has been asked, and end it."""
        if self.process is None:
            return
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(patience_s)
        self.kill()

    def kill(self) -> None:
        """End it and its workers at once, whatever they are doing."""
        if self.process is None:
            return
        self._kill_group(self.process.pid)
        self.process.wait()
        self.process = None

    def _kill_group(self, number: int, patience_s: float = 10) -> None:
        """Kill a server with its workers, and wait until the last of them has let go of the port."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(number, signal.SIGKILL)
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline:
            with contextlib.suppress(UserError):
                return check_port(self.port)
            time.sleep(0.05)

    def _environment(self) -> dict[str, str]:
        """The address of the database is for its eyes only: everybody can read a command line."""
        own = {
            "MLFLOW_BACKEND_STORE_URI": self.database,
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        }
        return {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")} | own


def check_port(port: int) -> None:
    """Raise UserError if somebody listens there."""
    with socket.socket() as probe:
        # The connections that a killed server leaves are no hindrance.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise UserError(f"port {port}: {error.strerror}; choose another with PORT=5001") from None


def check_driver() -> None:
    """Raise UserError if Python cannot talk to PostgreSQL."""
    if importlib.util.find_spec("psycopg2") is None:
        raise UserError("PostgreSQL needs the package psycopg2: .venv/bin/pip install -e '.[server]'")
