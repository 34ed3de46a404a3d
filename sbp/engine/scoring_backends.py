"""Where a scoring pass beside training runs: on a second device, or in a second process."""

import contextlib
import logging
import os
import pickle
import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from typing import IO, Any

import numpy as np

from sbp.data.dataset import Split
from sbp.engine.parallel_scoring import ScoringJob
from sbp.engine.scoring import Scorer
from sbp.errors import UserError

log = logging.getLogger("sbp")

LIVES = 3
"""Processes that may die over one pass before the run ends."""
GRACE_S = 5.0
"""Seconds that a process is given to end by itself."""


class ScoringDevice:
    """A thread of this process, with a scorer of its own on another device.

    scorer: its model is a copy that belongs to this thread alone.
    """

    def __init__(self, scorer: Scorer, split: Split):
        self.scorer, self.split = scorer, split
        self.thread = ThreadPoolExecutor(1, thread_name_prefix="scoring")
        self.future: Future[np.ndarray] | None = None

    def start(self, job: ScoringJob) -> None:
        self.future = self.thread.submit(score, self.scorer, self.split, job)

    def ready(self) -> bool:
        return self.future is not None and self.future.done()

    def result(self) -> np.ndarray:
        assert self.future is not None
        return self.future.result()

    def close(self) -> None:
        self.thread.shutdown(wait=True, cancel_futures=True)


def score(scorer: Scorer, split: Split, job: ScoringJob) -> np.ndarray:
    """The pass itself; see Scorer.score."""
    scorer.model.load_state_dict(job.weights)
    return scorer.score(split, job.indices, job.epoch)


class ScoringProcess:
    """A process with a copy of model and data, which scores whatever weights it is sent.

    It is started at once and reads nothing of the config: scorer and split travel to it, images on disk by
    their path. A process that dies is replaced, and its pass done again with the same weights; the third
    death over one pass raises UserError. threads: torch's, in that process.

    A plain child with pipes: multiprocessing's would load the program's main module again, which a job in a
    worker of joblib cannot, and forking would take locks and a GPU along.
    """

    def __init__(self, scorer: Scorer, split: Split, threads: int = 1):
        self.payload = pickle.dumps((scorer, split, threads))
        self.job: ScoringJob | None = None
        self.lives = LIVES
        # a pipe holds 64 KB: without, training would wait until the process has imported torch
        self.sender = ThreadPoolExecutor(1, thread_name_prefix="to the scoring process")
        self.reader = ThreadPoolExecutor(1, thread_name_prefix="from the scoring process")
        self.answer: Future[tuple[str, Any]] | None = None
        self._launch()

    def _launch(self) -> None:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)}
        command = [sys.executable, "-m", "sbp.engine.scoring_process"]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, env=environment)
        self._send(self.payload)

    def _send(self, message: bytes) -> None:
        assert self.process.stdin is not None
        self.sender.submit(_write, self.process.stdin, message)

    def _ask(self) -> None:
        assert self.job is not None
        self._send(pickle.dumps(self.job))
        assert self.process.stdout is not None
        self.answer = self.reader.submit(pickle.load, self.process.stdout)

    def start(self, job: ScoringJob) -> None:
        self.job, self.lives = job, LIVES
        self._ask()

    def ready(self) -> bool:
        return self.answer is not None and self.answer.done()

    def result(self) -> np.ndarray:
        while True:
            assert self.answer is not None
            try:
                kind, value = self.answer.result()
            except (EOFError, OSError, pickle.UnpicklingError):  # nothing more, or cut off
                self._replace()
                continue
            if kind == "scores":
                return value
            raise UserError(value) if kind == "user error" else RuntimeError(f"scoring process: {value}")

    def _replace(self) -> None:
        code = self._end()
        self.lives -= 1
        if not self.lives:
            raise UserError(
                f"scoring.parallel=process: the scoring process ended {LIVES} times over one pass, last with "
                f"exit code {code} (-9: killed, as when memory runs out); scoring.parallel=none needs no "
                "second copy of the model"
            )
        log.warning("the scoring process ended with exit code %s; a new one does its pass again", code)
        self._launch()
        self._ask()

    def _end(self) -> int:
        """Wait a little for the process, then kill it; returns its exit code."""
        try:
            code = self.process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        return code

    def close(self) -> None:
        self.process.kill()  # it holds nothing that could be damaged
        self.process.wait()
        self.sender.shutdown()
        self.reader.shutdown()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            with contextlib.suppress(OSError):
                pipe.close()


def _write(pipe: IO[bytes], message: bytes) -> None:
    with contextlib.suppress(OSError, ValueError):  # it is gone, as `result` will find
        pipe.write(message)
        pipe.flush()
