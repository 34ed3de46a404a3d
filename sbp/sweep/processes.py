"""Jobs in processes of their own: how they end when the sweep does."""

import logging
import multiprocessing
import os
import signal
import threading
import time

SWEEP_VARIABLE = "SBP_SWEEP_PID"
GRACE_S = 20.0
"""What a worker has to close its run after SIGTERM."""
_watching = False

log = logging.getLogger("sbp")


def in_worker() -> bool:
    """Whether this process was started to run jobs of a sweep beside others."""
    return multiprocessing.current_process().name != "MainProcess"


def announce_sweep() -> None:
    """Tell the workers to come which process they work for."""
    os.environ[SWEEP_VARIABLE] = str(os.getpid())


def stop_with_the_sweep(interval_s: float = 1.0) -> None:
    """Terminate this worker when the process that started it is gone, even if that was killed outright, and
    even if it was gone before this worker came to its first job. Needs POSIX, where a process whose parent
    is gone gets another one; elsewhere a line says that the worker would finish its job."""
    global _watching
    if _watching:
        return
    _watching = True
    if os.name != "posix":
        log.info("this system does not tell workers that their sweep was killed: they would finish their job")
        return
    parent = int(os.environ.get(SWEEP_VARIABLE) or os.getppid())

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(interval_s)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(GRACE_S)
        leave_worker()  # whatever it hangs on

    threading.Thread(target=watch, daemon=True, name="stop-with-the-sweep").start()


def leave_worker() -> None:
    """End this worker at once: its pool would otherwise give it the next job of a sweep that has ended."""
    os._exit(128 + signal.SIGTERM)
