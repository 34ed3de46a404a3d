"""A defect that comes in late: what a model learns of it, and what it forgets of the others.

First step: all training images without the new defect, of whose channel nothing is known. Second step: some
images with it come in, and a share of the old ones is kept, which show none of it, as they were taken before
it occurred. Where the new images are annotated for the new defect alone, the other channels are VOID in them:
"nothing annotated" must not be learnt as "nothing there".
"""

import json
import logging
import math
from copy import deepcopy
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from sbp.build.data import open_cached
from sbp.config import Config
from sbp.config.groups import UpsamplingConfig
from sbp.config.schemas import schema
from sbp.data.dataset import DataSet
from sbp.engine.budget import Budget
from sbp.engine.callbacks import Callback, EpochRecord
from sbp.engine.trainer import Trainer
from sbp.errors import UserError
from sbp.metrics import names
from sbp.run.fingerprint import fingerprint
from sbp.run.prepared import Prepared
from sbp.seeding import Purpose, generator
from sbp.steps.earlier import MODEL, trained
from sbp.steps.part_progress import PartProgress
from sbp.utils.files import write_atomically
from sbp.utils.progress import Progress

NEW, OLD = 0, 1
log = logging.getLogger("sbp")


def steps(config: Config) -> int:
    """How many trainings a run consists of."""
    return 2 if builds_on_first(config) else 1


def builds_on_first(config: Config) -> bool:
    """Whether the run begins with what the first step has learnt, and nobody gives it that."""
    arrival = config.arrival
    return arrival.step == 2 and arrival.start == "first_step" and config.init_from is None


def prepared(config: Config, choices: dict[str, str], progress: Progress) -> Prepared:
    """Train the first step, if the run builds on it. Raises UserError where there are too few new images."""
    data = open_cached(config)
    arrived(config, data)  # before long work
    if not builds_on_first(config):
        measured = [Measured(Path(config.run_dir))] if config.arrival.step == 1 else []
        return Prepared(
            partial(part_of, config), budget=budget_of(config), callbacks=lambda tracker: measured
        )
    first = first_step(config)
    part = PartProgress(progress, 0, 2)
    make = partial(prepared, first, choices, part)
    folder = trained(first, f"what was there before {config.arrival.defect}", choices, part, make)
    return Prepared(
        partial(part_of, config),
        init_from=folder / MODEL,
        budget=budget_of(config),
        callbacks=lambda tracker: [Forgetting(config, folder)],
    )


def first_step(config: Config) -> Config:
    """The config of the first step's run, which all runs share that go on from it: balanced by label."""
    config = deepcopy(config)
    config.arrival = replace(config.arrival, step=1, images=None, annotated="new", memory=1.0)
    config.selection = schema("selection", "balanced")(name="balanced")
    config.staleness = schema("staleness", "every_epoch")(name="every_epoch")
    config.guard = schema("guard", "none")(name="none")
    config.beta.value, config.upsampling = None, UpsamplingConfig(name="none")
    config.defects.focus = [d for d in config.data.defects if d != config.arrival.defect]
    config.run_name = f"before {config.arrival.defect}, seed {config.seed}"
    config.section, config.label = None, None
    config.run_dir = str(Path(config.output_root) / "steps" / fingerprint(config))
    return config


def budget_of(config: Config) -> Budget:
    """What a run may spend of config.budget: its step's share, or all of it from scratch."""
    arrival, whole = config.arrival, config.budget
    assert whole.compute is not None
    if arrival.step == 2 and arrival.start == "scratch":
        return whole
    return replace(whole, compute=whole.compute * (arrival.at if arrival.step == 1 else 1 - arrival.at))


def arrived(config: Config, data: DataSet) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the new images and of the old ones that are kept, each ascending, drawn from the seed."""
    arrival, labels = config.arrival, data.train.labels
    channel = data.defects.index(str(arrival.defect))
    with_it, without = np.flatnonzero(labels[:, channel]), np.flatnonzero(~labels[:, channel])
    if arrival.images is not None and arrival.images > len(with_it):
        raise UserError(
            f"arrival.images={arrival.images}: must be at most {len(with_it)}, as many training images hold "
            f"{arrival.defect}"
        )
    new = generator(config.seed, Purpose.ARRIVAL, NEW).permutation(with_it)[: arrival.images]
    kept = round(arrival.memory * len(without))
    old = generator(config.seed, Purpose.ARRIVAL, OLD).permutation(without)[:kept]
    return np.sort(new), np.sort(old)


def part_of(config: Config, data: DataSet) -> DataSet:
    """The data set with the training images of the step, and what is known of them."""
    new, old = arrived(config, data)
    arrival, channel = config.arrival, data.defects.index(str(config.arrival.defect))
    images = old if arrival.step == 1 else np.sort(np.concatenate([new, old]))
    void = np.zeros((len(images), len(data.defects)), dtype=bool)
    if arrival.step == 1:
        void[:, channel] = True
    elif arrival.annotated == "new":
        void[np.isin(images, new)] = np.arange(len(data.defects)) != channel
    about = f"{len(images)} training images" + ("" if arrival.step == 1 else f", {len(new)} of them new")
    log.info("%s", about)
    part = data.train.rows(images).without_channels(void)
    name = f"arrival_{arrival.defect}_{arrival.step}_{arrival.images}_{arrival.memory:g}_{config.seed}"
    return data.with_train(part, f"{name}_{arrival.annotated}", whole=len(data.train))


class Measured(Callback):
    """Leaves measured.json, what was measured at the end, for the second step."""

    FILE = "measured.json"

    def __init__(self, folder: Path):
        self.path = folder / self.FILE

    def on_fit_end(self, trainer: Trainer, record: EpochRecord) -> None:
        metrics = trainer.last.metrics | record.metrics
        write_atomically(self.path, json.dumps({k: v for k, v in metrics.items() if math.isfinite(v)}))


class Forgetting(Callback):
    """Adds what the first step had reached on the old defects, and how much of that is gone at the end.

    folder: of the first step's run.
    """

    def __init__(self, config: Config, folder: Path):
        self.new, self.path = config.arrival.defect, folder / Measured.FILE

    def on_fit_end(self, trainer: Trainer, record: EpochRecord) -> None:
        before, after = json.loads(self.path.read_text()), trainer.last.metrics | record.metrics
        split = "test" if names.of_split("test", "map") in after else "val"
        keys = {d: names.of_split(split, "map", d) for d in trainer.data.defects if d != self.new}
        known = {d: key for d, key in keys.items() if key in before and math.isfinite(after[key])}
        lost = {d: before[key] - after[key] for d, key in known.items()}
        record.metrics.update({names.before(d): before[key] for d, key in known.items()})
        record.metrics.update({names.forgetting(d): value for d, value in lost.items()})
        if lost:
            record.metrics[names.FORGETTING] = float(np.mean(list(lost.values())))
