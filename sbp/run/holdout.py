"""Scores of the training images by a model that was trained on others, for selection=reducible."""

import copy
import logging

import numpy as np

from sbp.build import trainer as build
from sbp.build.tiles import image_cost, whole_images
from sbp.config import Config, from_values
from sbp.engine.device import Compute
from sbp.engine.trainer import Trainer
from sbp.errors import UserError
from sbp.run.checkpoint import Checkpoint, load_checkpoint

log = logging.getLogger("sbp")
KEY = "selection.holdout"


def checked_holdout(config: Config) -> Checkpoint | None:
    """The checkpoint that the selection compares with; None for one that does not. Raises UserError for one
    that cannot be read, or was trained on other defects, other channels or the same images."""
    if not hasattr(config.selection, "holdout"):
        return None
    path = config.selection.holdout
    if path is None:
        raise UserError(f"{KEY}: selection={config.selection.name} needs a checkpoint, {KEY}=FOLDER/best.pt")
    checkpoint = load_checkpoint(path)
    other = from_values(checkpoint.config)
    if list(checkpoint.defects) != list(config.data.defects):
        raise UserError(
            f"{KEY}={path}: was trained on {', '.join(checkpoint.defects)}, must be "
            f"{', '.join(config.data.defects)}"
        )
    if other.data.channels != config.data.channels:
        raise UserError(f"{KEY}={path}: data.channels={other.data.channels}, must be {config.data.channels}")
    if other.data == config.data:
        raise UserError(f"{KEY}={path}: was trained on the same images; choose others, as with data.seed")
    return checkpoint


def score_with_holdout(trainer: Trainer, config: Config, checkpoint: Checkpoint) -> None:
    """Score the training images once with the model of `checkpoint`, at the expense of the budget: what that
    model itself cost is not counted."""
    other = from_values(checkpoint.config)
    if hasattr(other.model, "encoder_weights"):
        other.model.encoder_weights = None  # they come with the checkpoint
    model = build.build_model(other, len(checkpoint.defects))
    model.load_state_dict(checkpoint.weights)
    compute = Compute(config.trainer.device, config.trainer.channels_last, checkpoint.mean, checkpoint.std)
    scorer = copy.copy(trainer.scorer)
    scorer.model, scorer.compute = whole_images(other, compute.place(model), compute), compute
    everything = np.arange(len(trainer.data.train))
    log.info("scores %d images with %s", len(everything), vars(config.selection)["holdout"])
    trainer.sampler.holdout = scorer.score(trainer.data.train, everything, epoch=0)[0]
    relative = image_cost(other, model, trainer.data.train.image_shape).forward
    trainer.ledger.scored += round(len(everything) * relative / trainer.ledger.model_cost.forward)
