"""Starts processes of sbp quickly: everything is imported once, each process is a fork of that.

Listens at the socket that it is given, for any number of testing processes. Reads commands as JSON lines and
answers each with one: {"start": {...}} with the child's pid, {"poll": pid} with its exit code, None while it
runs, and -N if signal N killed it. Ends with its stdin.
"""

import json
import os
import select
import socket
import sys
import tempfile
from importlib import import_module
from pathlib import Path

from sbp.tracking import store

IMPORTS = ("sbp.train", "sbp.run.execute", "sbp.cli.main", "sbp.predict", "sbp.report.writing")
IMPORTS += ("albumentations", "segmentation_models_pytorch", "mlflow")  # which sbp imports late


def main() -> None:
    for name in IMPORTS:
        import_module(name)
    tables = create_tables()
    codes: dict[int, int] = {}
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(sys.argv[1])
    listener.listen()
    files = {sys.stdin.fileno(): sys.stdin, listener.fileno(): listener}
    while True:
        for number in select.select(list(files), [], [])[0]:
            if number == sys.stdin.fileno():
                return
            if number == listener.fileno():
                connection = listener.accept()[0]
                files[connection.fileno()] = connection.makefile("rw")
            elif line := files[number].readline():
                print(json.dumps(_answer(json.loads(line), tables, codes)), file=files[number], flush=True)
            else:
                files.pop(number).close()


def _answer(command: dict, tables: bytes, codes: dict[int, int]) -> int | None:
    if "start" in command:
        return _start(tables, **command["start"])
    pid = command["poll"]
    if pid not in codes:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            codes[pid] = os.waitstatus_to_exitcode(status)
    return codes.get(pid)


def create_tables() -> bytes:
    """A database that holds MLflow's tables and nothing in them; also imports what MLflow imports late."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "empty.db")
        store._create_tables(path)
        return path.read_bytes()


def _start(
    tables: bytes,
    module: str,
    arguments: list[str],
    environment: dict[str, str],
    cwd: str,
    out: str,
    error: str,
    copy_tables: bool,
) -> int:
    """Fork a process that runs `main()` of `module`; its output goes to the files `out` and `error`.

    copy_tables: whether it copies the tables where MLflow would take a second to create them.
    """
    pid = os.fork()
    if pid:
        return pid
    os.environ.update(environment)
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    streams = (os.open(os.devnull, os.O_RDONLY), os.open(out, flags), os.open(error, flags))
    for target, source in enumerate(streams):
        os.dup2(source, target)
    os.chdir(cwd)
    sys.argv = [module, *arguments]
    if copy_tables:
        store._create_tables = lambda path: path.write_bytes(tables)
    code = 1
    try:
        if hook := environment.get("FAULT_HOOK"):  # a test's own code, as if the world were different
            exec(compile(Path(hook).read_text(), hook, "exec"), {"__name__": "hook"})
        import_module(module).main()
        code = 0
    except SystemExit as exit:
        code = exit.code if isinstance(exit.code, int) else int(exit.code is not None)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
