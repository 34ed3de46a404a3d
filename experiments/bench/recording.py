"""What recording a run costs: the tracker and the saved states, as shares of an epoch's time.

`python -m experiments.bench.recording EPOCHS [overrides]` prints four numbers of a run at cpu scale: the
shares of its time for the tracker's calls and for saving states, the share of its processor time for sending
to a local store beside the training, and the seconds per epoch. The first epochs are left out.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from experiments.bench.setup import config_with
from sbp.build import trainer as build
from sbp.build.data import open_cached
from sbp.run.callbacks import run_callbacks
from sbp.seeding import seed_everything
from sbp.tracking.mlflow_run import MlflowRun
from sbp.tracking.recording import tracked_run
from sbp.utils.progress import Progress

WARM_UP = 3


class Meter:
    """Adds up the seconds of methods that it is put around, by a clock."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.seconds, self.clock = 0.0, clock

    def around(self, thing: object, *names: str) -> None:
        for name in names:
            setattr(thing, name, self._timed(getattr(thing, name)))

    def _timed(self, method: Callable) -> Callable:
        def timed(*arguments, **named):
            started = self.clock()
            try:
                return method(*arguments, **named)
            finally:
                self.seconds += self.clock() - started

        return timed


def measure(epochs: int, *overrides: str) -> tuple[float, float, float, float]:
    """Share of tracking, of saving, of sending; seconds per epoch."""
    with tempfile.TemporaryDirectory() as folder:
        config = config_with(*overrides, "tracking=local", images=1000)
        data = open_cached(config)
        config.output_root, config.run_dir = folder, f"{folder}/run"
        Path(config.run_dir).mkdir()
        seed_everything(0)
        model = build.build_model(config, 2)
        trainer = build.build_trainer(config, model, data, Progress())
        tracking, saving, sending = Meter(), Meter(), Meter(time.thread_time)
        sending.around(MlflowRun, "send")
        with tracked_run(config, {}, data, {}) as tracker:
            trainer.callbacks += run_callbacks(config, trainer, tracker, "bench", resumed=False)
            for callback in trainer.callbacks:
                callback.on_fit_start(trainer)
            tracking.around(tracker, "log_metrics", "log_image", "commit")
            saving.around(trainer.callbacks[-1], "save")
            runs = trainer.epochs()
            for _ in range(WARM_UP):
                next(runs)
            tracking.seconds = saving.seconds = sending.seconds = 0.0
            started, used = time.perf_counter(), time.process_time()
            for _ in range(epochs):
                next(runs)
            total, used = time.perf_counter() - started, time.process_time() - used
            sent = sending.seconds
    return tracking.seconds / total, saving.seconds / total, sent / used, total / epochs


if __name__ == "__main__":
    torch.set_num_threads(1)
    epochs, *overrides = sys.argv[1:]
    print(*measure(int(epochs), *overrides))
