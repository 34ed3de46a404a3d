"""The program of the scoring process: takes a scorer and its images, then scores the weights that come in.

`python -m sbp.engine.scoring_process`, started by ScoringProcess, which trusts it and is trusted: both sides
are one user's, over pipes that nobody else sees.
"""

import os
import pickle
import signal
import sys
import traceback
from typing import IO, Any

import torch

from sbp.data.dataset import Split
from sbp.engine.parallel_scoring import ScoringJob
from sbp.engine.scoring import Scorer
from sbp.engine.scoring_backends import score
from sbp.errors import UserError


def serve(source: IO[bytes], sink: IO[bytes]) -> None:
    """Answer jobs until the other side is gone."""
    try:
        scorer, split, threads = pickle.load(source)
        torch.set_num_threads(threads)
        while True:
            pickle.dump(answer(scorer, split, pickle.load(source)), sink)
            sink.flush()
    except (EOFError, OSError):
        pass  # training is over, or was killed


def answer(scorer: Scorer, split: Split, job: ScoringJob) -> tuple[str, Any]:
    """What came of a job, by kind: the scores, or a message."""
    try:
        return "scores", score(scorer, split, job)
    except UserError as error:
        return "user error", str(error)
    except Exception:
        return "error", traceback.format_exc()


def main() -> None:
    """Serve over the standard streams; whatever prints goes to the error stream instead."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches both; training decides what becomes of it
    sink = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    serve(sys.stdin.buffer, sink)
    os._exit(0)  # a closed pipe would be complained about at exit


if __name__ == "__main__":
    main()
