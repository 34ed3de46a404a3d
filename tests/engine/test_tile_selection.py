"""With selection.unit=tile the tile is what is labelled, scored, drawn and written back."""

import copy
import csv
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

from sbp.data.dataset import DataSet, open_data
from sbp.data.source import VOID, Sample
from sbp.data.tiles import TileGrid, TrainingTiles
from sbp.data.truth import lookalikes, unmarked
from sbp.data.units import SelectionUnits
from sbp.engine.callbacks import Callback, EpochRecord
from sbp.engine.device import evaluating
from sbp.engine.ranks import ALONE, Ranks
from sbp.engine.snapshot import restore, snapshot
from sbp.engine.trainer import Trainer
from sbp.errors import UserError
from sbp.run.callbacks.histograms import HistogramRecorder
from sbp.run.callbacks.suspects import SuspectList
from sbp.run.callbacks.top_losses import TopLosses, gallery_entries
from sbp.run.checkpoint import Checkpoint
from sbp.run.fingerprint import fingerprint
from sbp.run.holdout import score_with_holdout
from sbp.tracking.tracker import Tracker
from tests.conftest import make_config, make_trainer
from tests.engine.test_trainer import assert_equal_states

SIDE = 32
SCRATCH_LABELS = [[0, 1, 0, 0], [0, 0, 0, 0]]
DENT_LABELS = [[0, 0, 1, 1], [0, 0, 0, 0]]


class TwoImages:
    """Two images of 2 x 2 tiles: the first has a scratch in tile 1 and a dent across tiles 2 and 3, the
    second nothing; every pixel differs. void: a corner of the second says nothing. copies: of both."""

    name, defects = "two", ("scratch", "dent")

    def __init__(self, void: bool = False, copies: int = 1):
        self.void, self.copies = void, copies

    def describe(self) -> dict:
        return {"void": self.void, "copies": self.copies}

    def lengths(self) -> dict[str, int]:
        return {"train": 2 * self.copies, "val": 2, "test": 2}

    def sample(self, split: str, index: int) -> Sample:
        image = np.random.default_rng([index, len(split)]).integers(0, 255, (64, 64, 1)).astype(np.uint8)
        masks = np.zeros((64, 64, 2), dtype=np.uint8)
        if index % 2 == 0:
            masks[5:12, 38:50, 0] = 1
            masks[50:55, 20:40, 1] = 1
        elif self.void:
            masks[40:, 40:] = VOID
        return Sample(image, masks, masks % VOID, f"{split}_{index}")


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> DataSet:
    return open_data(TwoImages(), tmp_path_factory.mktemp("two"))


@pytest.fixture(scope="module")
def several(tmp_path_factory) -> DataSet:
    """Five images of each kind."""
    return open_data(TwoImages(copies=5), tmp_path_factory.mktemp("several"))


TILES = (
    "data=masks",
    "data.root=somewhere",
    "data.defects=[scratch,dent]",
    "model=unet_small",
    "data.fit=tile",
    f"data.image_size={SIDE}",
    "selection.unit=tile",
    "selection.warmup_epochs=0",
    "augmentation=none",
    "loss=bce",
    "budget.compute=null",
    "budget.epochs=2",
    "trainer.threads=1",
)


def tile_trainer(data: DataSet, *overrides: str) -> Trainer:
    return make_trainer(data, *TILES, *overrides)


def test_a_tile_is_labelled_by_its_part_of_the_masks(two):
    units = tile_trainer(two).units
    assert len(units) == 8
    assert units.labels[:, 0].reshape(2, 4).tolist() == SCRATCH_LABELS
    assert units.labels[:, 1].reshape(2, 4).tolist() == DENT_LABELS


def test_labels_are_read_once_and_are_the_same_from_files(two, tmp_path, monkeypatch):
    streamed = open_data(TwoImages(), tmp_path, cache="stream")
    labels = tile_trainer(streamed).units.labels
    assert (labels == tile_trainer(two).units.labels).all()
    monkeypatch.setattr("sbp.data.units.tile_labels", None)
    assert (tile_trainer(streamed).units.labels == labels).all()


@pytest.mark.parametrize("void", [False, True])
@pytest.mark.parametrize("aggregation", ["topk_mean", "mindefects_maxbackground"])
def test_a_tiles_score_aggregates_its_cut_of_the_blended_loss_map(tmp_path, void, aggregation):
    trainer = tile_trainer(open_data(TwoImages(void), tmp_path), f"aggregation={aggregation}")
    split = trainer.data.train
    scores = trainer.score(np.arange(2), epoch=0)
    assert scores.shape == (3, 8, 2)
    with evaluating(trainer.model):
        logits = trainer.whole(trainer.compute.inputs(torch.from_numpy(np.array(split.images))))
    target, known = trainer.compute.targets(torch.from_numpy(np.array(split.masks)))
    losses = trainer.loss.loss_map(logits, target)
    assert (known is not None) == void
    for scheme, aggregate in enumerate(trainer.scorer.aggregations):
        for unit in range(8):
            image, (row, column) = unit // 4, divmod(unit % 4, 2)
            part = (slice(image, image + 1), slice(None), slice(row * 32, row * 32 + 32))
            part = (*part, slice(column * 32, column * 32 + 32))
            expected = aggregate(losses[part], target[part], None if known is None else known[part])
            np.testing.assert_allclose(scores[scheme, unit], expected[0], rtol=1e-5)


def test_tiles_that_do_not_divide_the_image_overlap_and_shrink_with_it():
    grid = TileGrid.covering(96, 160, 64)
    assert grid.places == ((0, 0), (0, 48), (0, 96), (32, 0), (32, 48), (32, 96))
    half = grid.scaled(48, 80)
    assert half.side == 32
    assert half.places == ((0, 0), (0, 24), (0, 48), (16, 0), (16, 24), (16, 48))


def test_scoring_at_half_the_size_finds_the_defects_in_the_same_tiles(two):
    trainer = tile_trainer(two, "scoring.scale_factor=0.5")
    scores, held = trainer.score(np.arange(2), epoch=0)[0], trainer.units.labels
    # an untrained model holds pixels for healthy: what is marked costs most
    for d in range(2):
        assert scores[held[:, d], d].min() > scores[~held[:, d], d].max()


def test_an_image_is_scored_if_any_of_its_tiles_is_due_and_all_its_scores_are_taken(two):
    trainer = tile_trainer(two, "selection=selective", "beta=b2", "staleness=smart")
    trainer.sampler.record_scores(np.arange(8), np.ones((2, 8, 2), dtype=np.float32), 0)
    trainer.sampler.record_training(np.array([5]), 0)
    trainer.epoch = 1
    record = next(trainer.epochs())
    assert trainer.ledger.scored == 1
    assert record.metrics["cost/scored_fraction"] == 0.5
    assert trainer.sampler.book.scored_at.tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    assert (trainer.sampler.book.scores[0, 4:] != 1).all()


def test_an_epoch_is_drawn_of_tiles_and_counts_them_as_parts_of_images(several):
    trainer = tile_trainer(several, "selection=balanced")
    trained = []

    class Watch(Callback):
        def on_step_end(self, trainer: Trainer) -> None:
            trained.extend(trainer.current.trained[-1].tolist())

    trainer.callbacks.append(Watch())
    record = next(trainer.epochs())
    held = trainer.units.labels[trained].any(axis=1)
    assert sorted(np.array(trained)[held]) == np.flatnonzero(trainer.units.labels.any(axis=1)).tolist()
    assert len(trained) == len(set(trained)) == 30
    assert record.metrics["train/share/healthy"] == 0.5
    assert record.metrics["train/share/scratch"] == pytest.approx(5 / 30)
    assert record.metrics["train/kept_fraction"] == 30 / 40
    assert record.metrics["train/images"] == 30 / 4
    assert record.metrics["cost/baseline_epochs"] == pytest.approx(30 / 40)
    assert (trainer.sampler.book.times_selected == np.bincount(trained, minlength=40)).all()


def test_what_comes_in_a_batch_is_the_tile_that_was_drawn(several):
    trainer = tile_trainer(several)
    tiles, split = trainer.loader.batches.tiles, trainer.data.train
    drawn = np.array([7, 1, 2, 33, 1, 39])
    (batch,) = trainer.loader.epoch(4, drawn)
    assert batch.indices.tolist() == drawn.tolist()
    seen = []
    for picture, masks, unit in zip(batch.images.numpy(), batch.masks.numpy(), drawn, strict=True):
        image, tile = divmod(unit, 4)
        # every pixel differs: there is one place where the picture can be from
        y, x = next(
            (y, x)
            for y in range(33)
            for x in range(33)
            if (split.images[image][y : y + 32, x : x + 32] == picture).all()
        )
        assert (split.masks[image][y : y + 32, x : x + 32] == masks).all()
        assert np.abs(np.array(tiles.grid.places[tile]) - (y, x)).max() <= SIDE // 4
        seen.append((y, x))
    assert seen[1] != seen[4]  # the same tile twice is moved anew


def test_a_tile_moves_no_further_than_it_holds_the_same_defects(two):
    """The first tile is healthy, and would reach the scratch of its neighbour if it moved by 7 pixels."""
    tiles, masks = TrainingTiles(64, 64, SIDE, seed=0, by_tile=True), two.train.masks[0]
    free = [tiles.place(epoch, 0, 0) for epoch in range(200)]
    places = [tiles.place_alike(masks, epoch, 0, 0) for epoch in range(200)]
    assert any(tiles.cut(masks, place).any() for place in free)
    assert not any(tiles.cut(masks, place).any() for place in places)
    assert len(set(places)) > 20
    assert all(new == old for new, old in zip(places, free, strict=True) if not tiles.cut(masks, old).any())


def test_reuse_writes_a_steps_losses_back_to_the_tiles_it_saw(several):
    trainer = tile_trainer(several, "selection=stratified", "staleness=reuse", "budget.epochs=1")
    steps, step = [], trainer._step

    def watched(batch, *rest):
        value = step(batch, *rest)
        steps.append((batch, trainer.sampler.book.scores[:, batch.indices].copy()))
        return value

    real, maps = trainer.loss.loss_map, []
    trainer.loss.loss_map = lambda logits, target: maps.append(real(logits, target)) or maps[-1]
    trainer._step = watched
    next(trainer.epochs())
    trained = [loss_map.detach() for loss_map in maps if loss_map.requires_grad]
    for (_, written), loss_map in zip(steps, trained, strict=True):
        np.testing.assert_allclose(written[0], loss_map.amax(dim=(2, 3)), rtol=1e-6)
        np.testing.assert_allclose(written[1], loss_map.mean(dim=(2, 3)), rtol=1e-6)
    drawn = np.concatenate([batch.indices for batch, _ in steps])
    assert len(drawn) < 40
    assert trainer.ledger.scored == 1  # 5 % of 40 tiles lie in one image


@pytest.mark.parametrize(
    "overrides",
    [
        ("selection=stratified", "staleness=reuse"),
        ("selection=selective", "beta=b2", "staleness=stale_smart", "upsampling=rare"),
    ],
)
def test_cut_off_in_the_middle_of_an_epoch_it_resumes_to_the_same_weights(several, overrides):
    states = []

    class Saver(Callback):
        def on_step_end(self, trainer: Trainer) -> None:
            if trainer.epoch == 1 and len(trainer.current.trained) == 1:
                states.append(copy.deepcopy(snapshot(trainer)))

    straight = tile_trainer(several, *overrides)
    straight.callbacks.append(Saver())
    straight.fit()
    (state,) = states
    state["callbacks"] = {}
    second = tile_trainer(several, *overrides)
    restore(second, state)
    second.fit()
    assert_equal_states(straight.model.state_dict(), second.model.state_dict())
    np.testing.assert_array_equal(straight.sampler.book.scores, second.sampler.book.scores)
    assert second.ledger.baseline_epochs == straight.ledger.baseline_epochs


def test_scores_from_beside_training_reach_their_tiles(several):
    trainer = tile_trainer(
        several, "selection=selective", "scoring.parallel=device", "scoring.device=cpu", "beta=b2"
    )
    weights = []

    class Watch(Callback):
        def before_training(self, trainer: Trainer) -> dict[str, float]:
            weights.append(copy.deepcopy(trainer.model.state_dict()))
            return {}

    trainer.callbacks.append(Watch())
    trainer.fit()
    trainer.model.load_state_dict(weights[0])  # the draw of the last epoch saw scores of the one before
    expected = trainer.scorer.score(several.train, np.arange(10), 0)
    np.testing.assert_array_equal(trainer.sampler.book.scores, expected)


def test_images_shared_out_over_ranks_give_the_scores_of_one(several, monkeypatch):
    trainer, images, parts = tile_trainer(several), np.array([3, 4, 6, 8, 9]), []
    alone = trainer.score(images, 0)

    class Noted(Exception):
        pass

    def note(self, rows):
        parts.append(rows)
        raise Noted

    monkeypatch.setattr(Ranks, "gather", note)
    for rank in range(3):
        trainer.ranks = Ranks(rank, 3)
        with pytest.raises(Noted):
            trainer.score(images, 0)
    assert [len(part) for part in parts] == [2, 2, 1]
    monkeypatch.setattr(Ranks, "gather", lambda self, rows: parts)
    np.testing.assert_allclose(trainer.score(images, 0), alone, rtol=1e-5)
    trainer.ranks = ALONE


def test_beta_and_candidates_come_from_the_labels_of_tiles(several):
    trainer = tile_trainer(several, "beta=auto", "defects=all", "beta.margin=1", "upsampling=rare")
    assert 1 / (1 + trainer.sampler.beta) == pytest.approx(15 / 40)
    trainer = tile_trainer(several, "upsampling=rare", "upsampling.factor=3", "data.rare=[dent]")
    counts = np.bincount(trainer.sampler.candidates)
    assert (counts == np.where(trainer.units.labels[:, 1], 3, 1)).all()


def test_histograms_group_by_what_the_tile_holds(several, tmp_path):
    trainer = tile_trainer(several, "selection=selective", "beta=b2", "budget.epochs=1")
    recorder = HistogramRecorder(several.defects, trainer.scorer.schemes, tmp_path, Tracker(), images=False)
    trainer.callbacks.append(recorder)
    next(trainer.epochs())
    (counts,) = recorder.histogram.counts["max"]
    assert counts.sum(axis=2).tolist() == [[25, 5, 10], [25, 5, 10]]


def test_the_gallery_shows_the_tile_under_its_images_name(two):
    trainer = tile_trainer(two)
    scores = trainer.score(np.arange(2), 0)[0].max(axis=1)
    top = np.array([6, 1, 2])
    maps = trainer.scorer.loss_maps(two.train, top)
    entries = gallery_entries(two.train, trainer.units, top, maps, scores)
    assert [entry.name for entry in entries] == [
        "train_1, tile at row 32, column 0",
        "train_0, tile at row 0, column 32",
        "train_0, tile at row 32, column 0",
    ]
    assert (entries[1].image == two.train.images[0][:32, 32:]).all()
    assert (entries[1].annotation == two.train.masks[0][:32, 32:]).all()
    for entry, unit in zip(entries, top, strict=True):
        assert entry.loss_map.max() == pytest.approx(scores[unit], rel=1e-5)
        assert entry.score == scores[unit]


def test_a_run_ends_with_the_tiles_of_the_highest_loss(several, tmp_path):
    trainer, record = tile_trainer(several, "selection=balanced"), EpochRecord(0, {}, None)
    TopLosses(tmp_path, Tracker(), shown=2).on_fit_end(trainer, record)
    shares = [record.metrics[f"top/{name}"] for name in ("border", "missing", "missed", "background")]
    assert sum(shares) == pytest.approx(1)
    assert (tmp_path / "gallery.png").is_file()


def test_the_guard_suspects_tiles_and_lists_where_they_are(several, tmp_path):
    trainer = tile_trainer(several, "selection=stratified", "guard=dynamics", "guard.min_selected=1")
    sampler, everything = trainer.sampler, np.arange(40)
    scores = np.ones((len(sampler.book.schemes), 40, 2), dtype=np.float32)
    sampler.record_scores(everything, scores, 0)
    sampler.observe(everything)
    sampler.record_training(everything, 0)
    learned = scores * 0.1
    learned[:, 1], learned[:, 6] = 0.8, 0.9
    sampler.record_scores(everything, learned, 1)
    assert np.flatnonzero(sampler.suspects()).tolist() == [1, 6]
    SuspectList(tmp_path, Tracker()).on_fit_end(trainer, EpochRecord(0, {}, None))
    with (tmp_path / "suspects.csv").open(newline="") as file:
        listed = [(row["image"], row["annotated"]) for row in csv.DictReader(file)]
    assert listed == [
        ("train_1, tile at row 32, column 0", ""),
        ("train_0, tile at row 0, column 32", "scratch"),
    ]


def test_a_defect_is_unmarked_in_the_tile_that_holds_it(two):
    true = np.array(two.train.clean_masks)
    true[1, 40:45, 50:60, 1] = 1
    units = tile_trainer(two).units
    split = replace(two.train, clean_masks=true, kinds=["", "dust"])
    assert np.flatnonzero(unmarked(split, units)).tolist() == [7]
    assert lookalikes(split, units) is None  # nobody says where the dust is
    images = SelectionUnits(split.labels)
    assert np.flatnonzero(unmarked(split, images)).tolist() == [1]
    assert lookalikes(split, images).tolist() == [False, True]


def test_a_policys_weights_are_those_of_the_tiles_in_the_batch(several):
    trainer = tile_trainer(several, "selection=infobatch", "aggregation=mean", "budget.epochs=1")
    given, reduce = [], trainer.loss.reduce_weighted
    trainer.loss.reduce_weighted = lambda weights, *rest: given.append(weights) or reduce(weights, *rest)
    trained = []

    class Watch(Callback):
        def on_step_end(self, trainer: Trainer) -> None:
            trained.append(trainer.current.trained[-1])

    trainer.callbacks.append(Watch())
    next(trainer.epochs())
    losses = trainer.sampler.book.image_losses(trainer.sampler.focus)
    expected = np.where(losses < losses.mean(), 2, 1)[np.concatenate(trained)]
    assert set(expected) == {1, 2}
    assert torch.cat(given).flatten().tolist() == expected.tolist()


def test_what_is_chosen_inside_a_batch_counts_in_tiles(several):
    options = ("selection.keep=0.5", "selection.start=0", "selection.end=1", "selection.interrupt=0")
    trainer = tile_trainer(several, "selection=composer", *options, "trainer.batch_size=8")
    record = next(trainer.epochs())
    assert trainer.sampler.book.times_selected.sum() == 20
    assert record.metrics["train/kept_fraction"] == 0.5
    assert record.metrics["train/images"] == 20 / 4
    assert record.metrics["cost/scored_fraction"] == 1  # a forward pass over each tile


def test_a_held_out_model_scores_tiles(two):
    trainer, other = tile_trainer(two, "selection=reducible"), tile_trainer(two, "seed=7")
    config = make_config("model.encoder_depth=3", "model.decoder_channels=[16,8,8]", *TILES)
    about = (asdict(config), ["scratch", "dent"], list(two.mean), list(two.std), 0, {})
    held_out = Checkpoint(other.model.state_dict(), *about)
    score_with_holdout(trainer, make_config(*TILES, "selection=reducible"), held_out)
    np.testing.assert_allclose(trainer.sampler.holdout, other.score(np.arange(2), 0)[0], rtol=1e-5)


OWN = ("data=masks", "data.root=x", "data.defects=[a]")
FIVE_THOUSAND = (
    "aggregation=topk_mean",
    "aggregation.k=5000",
    "aggregation.fraction=null",
    "data.image_size=64",
)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("selection.unit=pixel",), "selection.unit=pixel: must be one of image, tile"),
        (("selection.unit=tile",), "selection.unit=tile data=inspection: its images are not cut into tiles"),
        ((*OWN, "selection.unit=tile"), "selection.unit=tile data.fit=resize: images are not cut into tiles"),
        (
            (*OWN, "selection.unit=tile", "data.fit=tile", *FIVE_THOUSAND),
            "aggregation.k=5000: must be at most the image's",
        ),
        (
            (*OWN, "selection.unit=tile", "data.fit=tile", "staleness=reuse", "aggregation=shift"),
            "aggregation=shift staleness=reuse: shift scores a moved image",
        ),
    ],
)
def test_what_does_not_go_with_tiles_is_one_line(overrides, message):
    with pytest.raises(UserError, match=message.replace(".", r"\.")):
        make_config(*overrides)


def test_runs_on_images_are_the_runs_that_they_were():
    tiled = (*OWN, "data.fit=tile", "selection=selective")
    assert fingerprint(make_config(*tiled, "selection.unit=image")) == fingerprint(make_config(*tiled))
    assert fingerprint(make_config(*tiled, "selection.unit=tile")) != fingerprint(make_config(*tiled))


def test_units_of_images_are_the_images():
    units = SelectionUnits(np.zeros((5, 1), dtype=bool))
    numbers = np.array([3, 1])
    assert units.per_image == 1
    assert units.images(numbers).tolist() == units.of_images(numbers).tolist() == [3, 1]
