"""Starts training processes quickly: everything is imported once, each run is a fork of that.

Reads commands as JSON lines from stdin and answers each with one: {"start": {...}} with the child's pid,
{"poll": pid} with its exit code, None while it runs, and -N if signal N killed it.
"""

import json
import os
import sys
from pathlib import Path


def main() -> None:
    import albumentations  # noqa: F401
    import segmentation_models_pytorch  # noqa: F401

    import sbp.run.execute
    import sbp.train  # noqa: F401

    codes: dict[int, int] = {}
    print("ready", flush=True)
    for line in sys.stdin:
        command = json.loads(line)
        if "start" in command:
            print(_start(**command["start"]), flush=True)
        else:
            pid = command["poll"]
            if pid not in codes:
                done, status = os.waitpid(pid, os.WNOHANG)
                if done:
                    codes[pid] = os.waitstatus_to_exitcode(status)
            print(json.dumps(codes.get(pid)), flush=True)


def _start(arguments: list[str], environment: dict[str, str], log: str) -> int:
    pid = os.fork()
    if pid:
        return pid
    os.environ.update(environment)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    null = os.open(os.devnull, os.O_RDONLY)
    for target, source in ((0, null), (1, descriptor), (2, descriptor)):
        os.dup2(source, target)
    sys.argv = ["sbp train", *arguments]
    code = 1
    try:
        if hook := environment.get("FAULT_HOOK"):  # a test's own code, as if the world were different
            exec(compile(Path(hook).read_text(), hook, "exec"), {"__name__": "hook"})
        from sbp.train import main as train

        train()
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
