"""What a run leaves behind, recorded while it trains: a file each."""

from collections.abc import Sequence
from pathlib import Path

from sbp.config import Config
from sbp.engine.callbacks import Callback
from sbp.engine.evaluation import AnnotationCeiling, FinalTest
from sbp.engine.trainer import Trainer
from sbp.metrics.tasks import task_of
from sbp.run.callbacks.checkpointer import Checkpointer
from sbp.run.callbacks.description import RunDescription
from sbp.run.callbacks.histograms import ClassHistogramRecorder, HistogramRecorder
from sbp.run.callbacks.metric_log import MetricLog
from sbp.run.callbacks.suspects import SuspectList
from sbp.run.callbacks.top_losses import TopLosses
from sbp.tracking.tracker import Tracker


def run_callbacks(
    config: Config,
    trainer: Trainer,
    tracker: Tracker,
    identity: str,
    resumed: bool,
    measuring: Sequence[Callback] = (),
) -> list[Callback]:
    """What records a run of `trainer` to config.run_dir and to the tracker.

    The order counts: what adds metrics comes before the log of metrics, and the state, which must not be
    newer than the logs, last. identity: the run's fingerprint. resumed: whether it was interrupted before.
    measuring: what else adds metrics, after the test.
    """
    folder = Path(config.run_dir)
    images = config.tracking.histogram_images and config.tracking.name != "none"
    test = [FinalTest()] if config.evaluation.test else []
    schemes, shown = trainer.scorer.schemes, config.tracking.gallery_images
    of_task: list[Callback]
    if task_of(trainer.loss).has_maps:
        recorder = HistogramRecorder(trainer.data.defects, schemes, folder, tracker, images)
        of_task = [AnnotationCeiling(), recorder, TopLosses(folder, tracker, shown)]
    else:
        of_task = [ClassHistogramRecorder(trainer.data.defects, schemes, folder, tracker, images)]
    return [
        RunDescription(config, tracker, resumed),
        *of_task,
        SuspectList(folder, tracker),
        *test,
        *measuring,
        MetricLog(folder, tracker),
        Checkpointer(config, tracker, identity, resumed),
    ]
