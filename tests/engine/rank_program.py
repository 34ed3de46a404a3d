"""One of several processes that train on the toy data: `RANK COUNT MEETING_FILE RESULT KIND [OVERRIDES]`.

KIND `fit` trains to the end of the budget, `gradients` computes those of the first batch, `evaluate` measures
the validation split. RESULT gets an .npz of what came out.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import distributed

from sbp.build import trainer as build
from sbp.data.dataset import DataSet, open_data
from sbp.data.source import VOID
from sbp.engine.callbacks import Callback
from sbp.engine.ranks import Ranks
from sbp.engine.trainer import Trainer
from sbp.seeding import seed_everything
from sbp.utils.progress import Progress
from tests.conftest import ToySource, make_config


class VoidInSome(ToySource):
    """Every third image has a corner that does not count: some parts of a batch have one, others not."""

    name = "void"

    def sample(self, split: str, index: int):
        sample = super().sample(split, index)
        if index % 3 == 0:
            sample.masks[:9, :7] = VOID
        return sample


class Draws(Callback):
    """The images of each epoch."""

    on_every_rank = True

    def __init__(self) -> None:
        self.drawn: list[np.ndarray] = []

    def on_epoch_end(self, trainer: Trainer, record) -> None:
        self.drawn.append(np.flatnonzero(trainer.sampler.book.trained_at == record.epoch))


def build_trainer(data: DataSet, ranks: Ranks, overrides: list[str]) -> Trainer:
    config = make_config("model.encoder_depth=3", "model.decoder_channels=[16,8,8]", *overrides)
    seed_everything(config.seed)
    model = build.build_model(config, len(data.defects))
    return build.build_trainer(config, model, data, Progress(), ranks)


def fit(trainer: Trainer) -> dict[str, np.ndarray]:
    draws = Draws()
    trainer.callbacks.append(draws)
    metrics = trainer.fit()
    found = {f"draw {n}": images for n, images in enumerate(draws.drawn)}
    found |= {f"metric {key}": np.array(value) for key, value in metrics.items() if "time/" not in key}
    found |= {f"book {key}": getattr(trainer.sampler.book, key) for key in trainer.sampler.book.ARRAYS}
    return found | {f"weight {key}": value.numpy() for key, value in trainer.model.state_dict().items()}


def gradients(trainer: Trainer) -> dict[str, np.ndarray]:
    batch = next(trainer.loader.epoch(0, np.arange(10)))
    value = trainer._step(batch, 0, 0)
    named = trainer.model.named_parameters()
    return {"loss": value.numpy()} | {name: p.grad.numpy() for name, p in named if p.grad is not None}


def evaluate(trainer: Trainer) -> dict[str, np.ndarray]:
    # from here on, probabilities spread over all of [0, 1]
    torch.nn.init.normal_(trainer.model.segmentation_head[0].bias, generator=torch.Generator().manual_seed(1))
    return {key: np.array(value) for key, value in trainer.evaluate("val").items()}


def main() -> None:
    rank, count, meeting, result, kind, *overrides = sys.argv[1:]
    ranks = Ranks(int(rank), int(count))
    torch.set_num_threads(1)
    if ranks.count > 1:
        store = distributed.FileStore(meeting, ranks.count)
        distributed.init_process_group("gloo", store=store, rank=ranks.rank, world_size=ranks.count)
    source = VoidInSome() if kind == "gradients" else ToySource()
    with tempfile.TemporaryDirectory() as cache:
        trainer = build_trainer(open_data(source, Path(cache)), ranks, overrides)
        kinds = {"fit": fit, "gradients": gradients, "evaluate": evaluate}
        np.savez(result, **kinds[kind](trainer))
    if ranks.count > 1:
        distributed.destroy_process_group()
