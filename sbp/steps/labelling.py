"""Active learning: which images are annotated after so many rounds, and what a model learns from them.

The run of round r trains from scratch on what is annotated by then; the images of round r were chosen with
the model of round r - 1, which is a run of its own. All of it follows from config and seed, so that rules
share their beginning, and a run that is there is not trained again.
"""

import csv
import hashlib
import json
import logging
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from sbp.build.data import open_cached
from sbp.config import Config
from sbp.data.dataset import DataSet, Split
from sbp.engine.callbacks import Callback, EpochRecord
from sbp.engine.trainer import Trainer
from sbp.errors import UserError
from sbp.metrics import names
from sbp.run.fingerprint import fingerprint
from sbp.run.prepared import Prepared
from sbp.seeding import Purpose, generator
from sbp.steps.acquisition import Pool, acquired, regions_outlined
from sbp.steps.earlier import MODEL, trained
from sbp.steps.part_progress import PartProgress
from sbp.tracking.tracker import Tracker
from sbp.utils.files import write_atomically
from sbp.utils.progress import Progress

HISTORY, LABELLED = "rounds.json", "labelled.csv"
log = logging.getLogger("sbp")


@dataclass(frozen=True)
class Round:
    """What was annotated for a round, and what was measured after it. images: numbers of training images, in
    the order in which they were chosen. defects: annotated regions that were outlined in them. metrics: of
    the run, empty as long as it is not over."""

    images: list[int]
    defects: int
    metrics: dict[str, float] = field(default_factory=dict)


def prepared(config: Config, choices: dict[str, str], progress: Progress) -> Prepared:
    """Train the rounds before, choose the images of this one. Raises UserError where there are too few."""
    data = open_cached(config)
    _check(config, data)
    rounds: list[Round] = []
    for number in range(config.labelling.round):
        before = at_round(config, number)
        part = PartProgress(progress, number, config.labelling.round + 1)
        label = f"{config.labelling.by}, round {number} of {config.labelling.round}"
        folder = trained(before, label, choices, part, partial(_prepared, before, data, rounds))
        rounds = read_history(folder)
    return _prepared(config, data, rounds)


def at_round(config: Config, number: int) -> Config:
    """The config of an earlier round's run, which belongs to no section. Before the first round no rule has
    chosen anything: all rules share that run."""
    config = deepcopy(config)
    config.labelling.round = number
    if number == 0:
        config.labelling.by, config.labelling.aggregation, config.labelling.power = "random", "topk_mean", 4.0
    config.run_name = f"labelling by {config.labelling.by}, round {number}, seed {config.seed}"
    config.section, config.label = None, None
    config.run_dir = str(Path(config.output_root) / "steps" / fingerprint(config))
    return config


def _check(config: Config, data: DataSet) -> None:
    wanted = config.labelling.start + config.labelling.round * config.labelling.images
    if wanted > len(data.train):
        raise UserError(
            f"labelling.start + labelling.round * labelling.images = {wanted}: must be at most the "
            f"{len(data.train)} training images of {data.name}"
        )
    held = data.train.labels.any(axis=0).sum()
    if config.labelling.start < held:
        raise UserError(f"labelling.start={config.labelling.start}: must be at least {held}, one per defect")


def _with_images(config: Config, data: DataSet, rounds: Sequence[Round]) -> list[Round]:
    """The rounds before, `rounds`, and the config's with its images."""
    number, settings = config.labelling.round, config.labelling
    rng = generator(config.seed, Purpose.LABELLING, number)
    if number == 0:
        images = first_images(data.train.labels, settings.start, rng)
    else:
        known = np.concatenate([r.images for r in rounds]).astype(np.int64)
        left = np.setdiff1d(np.arange(len(data.train)), known)
        folder = Path(at_round(config, number - 1).run_dir)
        pool = Pool(folder / MODEL, data.train, left, config.trainer.device)
        images = left[acquired(settings.by or "random", pool, settings.aggregation, settings.power, rng)]
        images = images[: settings.images]
    return [*rounds, Round(images.tolist(), regions_outlined(data.train, images))]


def first_images(labels: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """(count,) image numbers to begin with: one at random with each defect of labels (N, D), and others at
    random."""
    order = rng.permutation(len(labels))
    first = {int(order[np.flatnonzero(labels[order, d])[0]]) for d in np.flatnonzero(labels.any(axis=0))}
    rest = [int(n) for n in order if int(n) not in first]
    return np.array([*sorted(first), *rest][:count])


def _prepared(config: Config, data: DataSet, before: Sequence[Round]) -> Prepared:
    """Choose the images of the config's round. before: the rounds before it."""
    rounds = _with_images(config, data, before)
    return Prepared(
        training_set=partial(labelled_part, rounds=rounds),
        callbacks=lambda tracker: [RoundHistory(config, rounds, tracker)],
    )


def labelled_part(data: DataSet, rounds: Sequence[Round]) -> DataSet:
    """The data set with the training images that are annotated; a baseline epoch stays that of all."""
    images = np.sort(np.concatenate([r.images for r in rounds]).astype(np.int64))
    log.info("%d of %d training images are annotated", len(images), len(data.train))
    digest = hashlib.sha256(images.tobytes()).hexdigest()[:12]
    return data.with_train(data.train.rows(images), f"labelled_{digest}", whole=len(data.train))


class RoundHistory(Callback):
    """Leaves labelled.csv, and at the end rounds.json; logs the metrics of all rounds so far, by round."""

    def __init__(self, config: Config, rounds: list[Round], tracker: Tracker):
        self.config, self.rounds, self.tracker = config, rounds, tracker

    def on_fit_start(self, trainer: Trainer) -> None:
        whole = open_cached(self.config).train
        path = Path(self.config.run_dir) / LABELLED
        with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
            writer = csv.writer(file)
            writer.writerow(["image", "round"])
            writer.writerows([whole.names[i], k] for k, r in enumerate(self.rounds) for i in r.images)
        self.tracker.log_file(path)

    def on_fit_end(self, trainer: Trainer, record: EpochRecord) -> None:
        last, whole = self.rounds[-1], open_cached(self.config).train
        rounds = [*self.rounds[:-1], Round(last.images, last.defects, measured(record.metrics, trainer))]
        text = json.dumps([asdict(r) for r in rounds])
        write_atomically(Path(self.config.run_dir) / HISTORY, text)
        for number, values in enumerate(round_metrics(rounds, whole, trainer.data.defects)):
            self.tracker.log_metrics(values, number)


def measured(metrics: dict[str, float], trainer: Trainer) -> dict[str, float]:
    """mAP of a round's run on the test split, or where that is not measured on the validation split."""
    split = "test" if names.of_split("test", "map") in metrics else "val"
    known = metrics if split == "test" else trainer.last.metrics
    keys = {names.LABELLED_MAP: names.of_split(split, "map")}
    keys |= {names.labelled_map(d): names.of_split(split, "map", d) for d in trainer.data.defects}
    return {name: known[key] for name, key in keys.items() if np.isfinite(known.get(key, np.nan))}


def round_metrics(rounds: Sequence[Round], whole: Split, defects: Sequence[str]) -> list[dict[str, float]]:
    """Of each round: images and regions annotated by then, the share that was found of the images with each
    defect, and the mAP that was reached."""
    found: list[dict[str, float]] = []
    known = np.zeros(len(whole), dtype=bool)
    held = whole.labels.sum(axis=0)
    regions = 0
    for entry in rounds:
        known[entry.images] = True
        regions += entry.defects
        shares = whole.labels[known].sum(axis=0) / np.maximum(1, held)
        values = {names.LABELLED_IMAGES: float(known.sum()), names.LABELLED_DEFECTS: float(regions)}
        values |= {names.found(d): float(s) for d, s, h in zip(defects, shares, held, strict=True) if h}
        found.append(values | entry.metrics)
        if (area := area_of(found)) is not None:
            found[-1][names.LABELLED_AREA] = area
    return found


def area_of(rounds: Sequence[dict[str, float]]) -> float | None:
    """Mean mAP over the images annotated, of the rounds so far; None where one was not measured."""
    if not all(names.LABELLED_MAP in values for values in rounds):
        return None
    images, maps = ([values[key] for values in rounds] for key in (names.LABELLED_IMAGES, names.LABELLED_MAP))
    return float(np.trapezoid(maps, images) / (images[-1] - images[0])) if len(rounds) > 1 else maps[0]


def read_history(folder: Path) -> list[Round]:
    """What the run in `folder` has left. Raises UserError if that is gone."""
    try:
        return [Round(**entry) for entry in json.loads((folder / HISTORY).read_text(encoding="utf-8"))]
    except (OSError, ValueError, TypeError) as error:
        raise UserError(
            f"{folder / HISTORY}: cannot be read ({error}); remove the folder, it is trained anew"
        ) from None
