"""init_from: a trained model that learns something more."""

import logging
from pathlib import Path

import pytest
import torch

from sbp.build import trainer as build
from sbp.errors import UserError
from sbp.run.callbacks.description import public_config
from sbp.run.checkpoint import save_checkpoint
from sbp.run.fingerprint import fingerprint
from sbp.run.initial import initial_model
from sbp.seeding import seed_everything
from tests.conftest import make_config

SMALL = ("model.encoder_depth=3", "model.decoder_channels=[16,8,8]")
HEAD = "segmentation_head.0."


def saved(path: Path, defects: list[str], *overrides: str) -> dict[str, torch.Tensor]:
    """A checkpoint of a model of these defects; returns its weights."""
    config = make_config(*SMALL, *overrides)
    seed_everything(5)
    model = build.build_model(config, len(defects))
    about = {"config": public_config(config), "defects": defects, "mean": [0.4], "std": [0.2]}
    save_checkpoint(path, model, epoch=0, metrics={}, **about)
    return model.state_dict()


def test_known_defects_keep_their_weights_by_name_and_new_ones_begin_anew(tmp_path, caplog):
    old = saved(tmp_path / "old.pt", ["dent", "broken"])
    config = make_config(*SMALL, f"init_from={tmp_path / 'old.pt'}")
    seed_everything(0)
    fresh = build.build_model(config, 2).state_dict()
    seed_everything(0)
    with caplog.at_level(logging.INFO, logger="sbp"):
        model = initial_model(config)  # of scratch and broken
    assert "knows broken; new: scratch; left behind: dent" in caplog.text
    for key, value in model.state_dict().items():
        if key.startswith(HEAD):
            torch.testing.assert_close(value[1], old[key][1])
            torch.testing.assert_close(value[0], fresh[key][0])
        else:
            torch.testing.assert_close(value, old[key])
    # so what it says of the known defect is what it said
    images = torch.rand(2, 1, 32, 32)
    before = build.build_model(config, 2)
    before.load_state_dict(old)
    torch.testing.assert_close(model.eval()(images)[:, 1], before.eval()(images)[:, 1])


@pytest.mark.parametrize("defects", [["scratch"], ["scratch", "broken", "dent"], ["broken", "scratch"]])
def test_the_head_grows_shrinks_and_is_put_in_order(tmp_path, defects):
    old = saved(tmp_path / "old.pt", defects)
    new = initial_model(make_config(*SMALL, f"init_from={tmp_path / 'old.pt'}")).state_dict()
    for row, name in enumerate(["scratch", "broken"]):
        if name in defects:
            torch.testing.assert_close(new[HEAD + "weight"][row], old[HEAD + "weight"][defects.index(name)])


def test_another_network_or_file_is_one_line(tmp_path):
    saved(tmp_path / "old.pt", ["scratch"], "model.decoder_channels=[16,8,4]")
    with pytest.raises(
        UserError, match=r"init_from=.*old.pt: is of another network \(decoder.*choose the model"
    ):
        initial_model(make_config(*SMALL, f"init_from={tmp_path / 'old.pt'}"))
    saved(tmp_path / "other.pt", ["scratch"], "model.encoder=resnet18")
    with pytest.raises(UserError, match=r"other.pt: is of another network; choose the model"):
        initial_model(make_config(*SMALL, f"init_from={tmp_path / 'other.pt'}"))
    with pytest.raises(UserError, match="no such checkpoint"):
        initial_model(make_config(*SMALL, f"init_from={tmp_path / 'nowhere.pt'}"))


def test_a_run_from_other_weights_is_another_run_wherever_they_lie(tmp_path):
    saved(tmp_path / "a.pt", ["scratch"])
    (tmp_path / "b.pt").write_bytes((tmp_path / "a.pt").read_bytes())
    a, b, none = (
        fingerprint(make_config(*SMALL, *words))
        for words in ([f"init_from={tmp_path / 'a.pt'}"], [f"init_from={tmp_path / 'b.pt'}"], [])
    )
    assert a == b != none
