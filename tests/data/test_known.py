"""data.known: images that were annotated for some of the defects teach nothing of the others."""

from pathlib import Path

import numpy as np
import pytest
import torch

from sbp.build import trainer as build
from sbp.build.data import open_cached
from sbp.data.loader import plain_batches
from sbp.data.source import VOID
from sbp.errors import UserError
from sbp.run.fingerprint import fingerprint
from sbp.seeding import seed_everything
from sbp.utils.progress import Progress
from tests.conftest import make_config
from tests.data.test_formats import image

SIDE = 32


@pytest.fixture
def parts(tmp_path) -> Path:
    """24 images, every second one with a dent, every third with a scratch."""
    rng, root = np.random.default_rng(0), tmp_path / "parts"
    for number in range(24):
        name = f"{number:02}.png"
        image(root / "images" / name, rng.integers(0, 99, (SIDE, SIDE), np.uint8))
        for defect, every, place in (("dent", 2, slice(2, 8)), ("scratch", 3, slice(20, 28))):
            if number % every == 0:
                mask = np.zeros((SIDE, SIDE), np.uint8)
                mask[place, place] = 255
                image(root / "masks" / defect / name, mask)
    return root


def config_of(parts: Path, *overrides: str):
    words = ["data=masks", f"data.root={parts}", "data.defects=[dent,scratch]", "scale.real_image_size=32"]
    small = ["model=unet_small", "model.encoder_depth=3", "model.decoder_channels=[16,8,8]"]
    return make_config(*words, *small, f"output_root={parts.parent / 'out'}", *overrides)


def test_what_an_image_was_not_annotated_for_is_void_and_what_is_drawn_stays(parts):
    (parts / "known.csv").write_text("name,defects\n06,dent\n07,\n08,dent;scratch\n")
    data = open_cached(config_of(parts, "data.known=known.csv"))
    plain = open_cached(config_of(parts))
    masks = {n: split.masks[k] for split in data.splits.values() for k, n in enumerate(split.names)}
    before = {n: split.masks[k] for split in plain.splits.values() for k, n in enumerate(split.names)}
    scratch = masks["06"][:, :, 1]
    assert set(np.unique(scratch)) == {1, VOID}  # its scratch is drawn, the rest of that channel says nothing
    np.testing.assert_array_equal(scratch == 1, before["06"][:, :, 1] == 1)
    np.testing.assert_array_equal(masks["06"][:, :, 0], before["06"][:, :, 0])
    assert (masks["07"] == VOID).all()
    for name in set(masks) - {"06", "07"}:
        np.testing.assert_array_equal(masks[name], before[name], err_msg=name)


def test_an_unknown_channel_gives_no_gradient_and_no_score(parts):
    names = [f"{number:02}" for number in range(24)]
    (parts / "known.csv").write_text("name,defects\n" + "".join(f"{name},dent\n" for name in names))
    config = config_of(parts, "data.known=known.csv", "loss=dice_bce", "defects.focus=[dent,scratch]")
    for path in (parts / "masks/scratch").glob("*.png"):
        if path.stem != "00":
            path.unlink()
    data = open_cached(config_of(parts, "data.known=known.csv", "data.val_fraction=0.3"))
    seed_everything(0)
    model = build.build_model(config, 2)
    trainer = build.build_trainer(config, model, data, Progress())
    (batch,) = plain_batches(data.train, np.arange(3), 3)
    target, valid = trainer.compute.targets(batch.masks)
    nothing = [k for k, name in enumerate(data.train.names[:3]) if name != "00"]
    logits = model(trainer.compute.inputs(batch.images))[nothing]
    loss = trainer.loss.reduce(
        trainer.loss.loss_map(logits, target[nothing]), logits, target[nothing], valid[nothing]
    )
    (gradient,) = torch.autograd.grad(loss, logits)
    assert gradient[:, 0].abs().sum() > 0
    assert gradient[:, 1].abs().sum() == 0
    scores = trainer.scorer.score(data.train, np.array(nothing), epoch=0)
    assert (scores[:, :, 0] > 0).all()
    assert (scores[:, :, 1] == 0).all()


def test_the_table_is_part_of_the_run_by_its_content(parts):
    (parts / "known.csv").write_text("name,defects\n06,dent\n")
    (parts / "again.csv").write_text("name,defects\n06,dent\n")
    (parts / "other.csv").write_text("name,defects\n06,scratch\n")
    known, again, other, none = (
        fingerprint(config_of(parts, *words))
        for words in (["data.known=known.csv"], ["data.known=again.csv"], ["data.known=other.csv"], [])
    )
    assert known == again
    assert len({known, other, none}) == 3


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("image,defects\n06,dent\n", "must have the columns name, defects"),
        ("name,defects\n99,dent\n", "line 2: 99: no image of the set is called so"),
        ("name,defects\n06,dant\n", "line 2: dant: must be one of dent, scratch"),
        (None, "cannot be read"),
    ],
)
def test_a_wrong_table_is_one_line(parts, text, line):
    if text is not None:
        (parts / "known.csv").write_text(text)
    with pytest.raises(UserError, match=rf"data.known=.*known.csv.*{line}") as error:
        open_cached(config_of(parts, "data.known=known.csv"))
    assert "\n" not in str(error.value)
