"""`make server`: MLflow on PostgreSQL, on this machine only, until Ctrl-C; started again it goes on.

Everything is in outputs/server: the database, the artifacts, two logs.
"""

import argparse
import os
import sys
import time
from pathlib import Path

from filelock import Timeout

from experiments.server.mlflow_server import WORKERS, MlflowServer, check_driver
from experiments.server.postgres import Postgres
from sbp.config.paths import output_root
from sbp.errors import UserError
from sbp.utils import signals
from sbp.utils.files import file_lock
from sbp.utils.pipes import outlive_closed_pipes

USAGE = """\
MLflow on PostgreSQL: {uri} (Ctrl-C stops it; its data stay in {folder})
  export MLFLOW_TRACKING_URI={uri}
  python -m sbp.train tracking=server   runs and sweeps (-m) are recorded there
  sbp report                            reads there, and so does every page at {uri}
  sbp sync                              sends there what could not be sent while it was away"""


def main() -> None:
    """Command line: --port, --folder, --workers."""
    outlive_closed_pipes()
    parser = argparse.ArgumentParser("python -m experiments.server.run", description=__doc__)
    parser.add_argument("--port", type=int, default=5000)
    parser.add_argument("--folder", type=Path, default=None, help="default: server in the output folder")
    parser.add_argument("--workers", type=int, default=WORKERS, help="processes that answer requests")
    options = parser.parse_args()
    signals.install()
    try:
        serve(options.folder or Path(output_root()) / "server", options.port, options.workers)
    except UserError as error:
        print(f"server: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("stopped")


def serve(folder: Path, port: int, workers: int = WORKERS) -> None:
    """Start both and wait until one of them ends, which raises UserError, or a signal arrives."""
    if os.name != "posix":
        raise UserError("make server: needs Linux or macOS")
    check_driver()
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    lock = folder / ".lock"
    try:
        with file_lock(lock, patience_s=0):
            _serve(folder, port, workers)
    except Timeout:
        raise UserError(f"{folder}: process {lock.read_text()} serves it already") from None


def _serve(folder: Path, port: int, workers: int) -> None:
    with Postgres(folder) as database, MlflowServer(folder, database.uri, port, workers) as server:
        server.claim_port()
        print("starting PostgreSQL and MLflow, a quarter of a minute", flush=True)
        database.start()
        server.start()
        print(USAGE.format(uri=server.uri, folder=folder), flush=True)
        while True:
            for name, part in (("PostgreSQL", database), ("MLflow", server)):
                if part.process is not None and part.process.poll() is not None:
                    raise UserError(f"{name} has ended, see {part.log}; the same command goes on")
            time.sleep(0.5)


if __name__ == "__main__":
    main()
