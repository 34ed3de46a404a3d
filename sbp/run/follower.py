"""What every rank but the leading one does: train as it is told, and record nothing.

`python -m sbp.run.follower`, started by the leading rank; under torchrun, sbp.train comes here.
"""

import json
import logging
import os
import signal
import sys
import threading
from pathlib import Path
from types import FrameType

from sbp.build import trainer as build
from sbp.build.data import open_cached
from sbp.config import Config, from_values
from sbp.data.loader import loader_errors_in_one_line
from sbp.engine.evaluation import FinalTest
from sbp.engine.ranks import Ranks
from sbp.engine.snapshot import restore
from sbp.errors import TrainingDiverged, UserError
from sbp.run import ranks as exchange
from sbp.run.holdout import checked_holdout, score_with_holdout
from sbp.run.initial import initial_model
from sbp.run.state import load_state
from sbp.seeding import restore_generators, seed_everything
from sbp.utils import torchrun
from sbp.utils.progress import Progress

GRACE_S = 20.0
"""How long the leading rank may take to leave after a signal to all."""


def main(join=exchange.join_starter) -> int:
    """Follow the leading rank to the end of its run; returns the exit code."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    logging.getLogger("sbp").setLevel(logging.ERROR)  # it says what there is to say
    try:
        ranks = join()
        let_the_leading_rank_leave_first()
        if message := ranks.told_bytes(b""):
            told = json.loads(message)
            follow(ranks, from_values(told["config"]), told["resumed"])
    except (UserError, TrainingDiverged) as error:
        if isinstance(error, UserError):
            print(f"sbp: rank {os.environ['RANK']}: {error}", file=sys.stderr)
        return 2 if isinstance(error, UserError) else 3
    except RuntimeError as error:
        if not exchange.is_broken_exchange(error):
            raise
        pass  # whoever is gone has an exit code of its own
    finally:
        exchange.leave()
    return 0


def follow(ranks: Ranks, config: Config, resumed: str | None) -> None:
    """Train in step with the leading rank. resumed: identity of the state in config.run_dir to begin with."""
    build.set_threads(config, torchrun.local_count(ranks.count))
    seed_everything(config.seed)
    state = load_state(Path(config.run_dir), resumed) if resumed else None
    model = initial_model(config)
    trainer = build.build_trainer(config, model, open_cached(config), Progress(), ranks)
    if (holdout := checked_holdout(config)) is not None:
        score_with_holdout(trainer, config, holdout)
    if config.evaluation.test:
        trainer.callbacks.append(FinalTest())
    if state is not None:
        restore(trainer, state["trainer"])
        restore_generators(state["random"])
    with loader_errors_in_one_line():
        trainer.fit()


def let_the_leading_rank_leave_first() -> None:
    """Ctrl-C and SIGTERM reach all ranks. The leading one ends between two steps, for which it needs the
    others; they end when it is gone, or after a while."""

    def wait(signum: int, frame: FrameType | None) -> None:
        timer = threading.Timer(GRACE_S, os._exit, [128 + signum])
        timer.daemon = True
        timer.start()

    signal.signal(signal.SIGINT, wait)
    signal.signal(signal.SIGTERM, wait)


if __name__ == "__main__":
    sys.exit(main())
