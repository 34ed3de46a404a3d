"""Nothing that comes from outside is executed, and no password leaves the process."""

import os
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from sbp.cli.main import main
from sbp.data.dataset import open_data
from sbp.errors import UserError
from sbp.run.callbacks.description import public_config
from sbp.run.checkpoint import load_checkpoint
from sbp.tracking.store import masked
from tests.conftest import ROOT, ToySource, make_config


class Bomb:
    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self):
        return os.system, (f"touch {self.mark}",)


def test_a_checkpoint_with_code_in_it_is_refused_and_not_run(tmp_path):
    mark = tmp_path / "executed"
    torch.save({"format": "sbp-model-1", "weights": Bomb(mark)}, tmp_path / "model.pt")
    with pytest.raises(UserError, match=r"model\.pt: not a readable checkpoint"):
        load_checkpoint(tmp_path / "model.pt")
    assert not mark.exists()


def test_the_image_cache_holds_plain_arrays_and_json(tmp_path):
    data = open_data(ToySource(), tmp_path)
    kinds = {path.suffix for path in data.path.iterdir()}
    assert kinds == {".npy", ".json"}
    for path in data.path.glob("*.npy"):
        np.load(path, allow_pickle=False)


def test_a_cache_with_code_in_it_is_refused_and_not_run(tmp_path):
    data, mark = open_data(ToySource(), tmp_path), tmp_path / "executed"
    np.save(data.path / "val_labels.npy", np.array([Bomb(mark)], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match=r"Python objects|[Pp]ickle"):
        open_data(ToySource(), tmp_path)
    assert not mark.exists()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://user:secret@host:5000", "http://user:***@host:5000"),
        ("postgresql://me:s3c/ret@db/x", "postgresql://me:***@db/x"),
        ("http://:secret@host", "http://:***@host"),
        ("http://user:se@cret@host:5000", "http://user:***@host:5000"),
        ("postgresql://db/x?user=me&password=secret&a=1", "postgresql://db/x?user=me&password=***&a=1"),
        ("http://host:5000/a", "http://host:5000/a"),
        (
            "failed for url http://user:secret@host/api: timeout",
            "failed for url http://user:***@host/api: timeout",
        ),
    ],
)
def test_passwords_in_addresses_are_masked(text, shown):
    assert masked(text) == shown


def test_the_config_that_is_kept_has_no_password():
    config = make_config("tracking=server", "tracking.uri=http://user:secret@host:5000")
    assert "secret" not in str(public_config(config))
    assert public_config(config)["tracking"]["uri"] == "http://user:***@host:5000"
    assert config.tracking.uri == "http://user:secret@host:5000"


def test_the_ui_listens_on_this_machine_only(tmp_path, monkeypatch):
    """What `sbp ui` would become."""
    started = []
    monkeypatch.setattr("os.execv", lambda program, command: started.append(command))
    monkeypatch.setattr("sys.argv", ["sbp", "ui", "--port", "5099"])
    monkeypatch.setenv("SBP_OUTPUT", str(tmp_path))
    main()
    (command,) = started
    assert command[-4:] == ["--host", "127.0.0.1", "--port", "5099"]


def test_nothing_in_the_package_unpickles_or_evaluates():
    pattern = re.compile(r"\b(pickle\.load|eval\(|exec\(|allow_pickle=True|weights_only=False|yaml\.load\()")
    # the two ends of the pipes between a run and the process that it has started itself
    ends = {
        "scoring_backends.py": "pickle.load, self.process.stdout",
        "scoring_process.py": "pickle.load(source)",
    }
    for path in (ROOT / "sbp").rglob("*.py"):
        text = re.sub(r"\.eval\(\)", "", path.read_text())
        if path.name in ends:
            assert ends[path.name] in text
            text = text.replace(ends[path.name], "")
        assert not pattern.search(text), path


def test_states_and_checkpoints_are_archives_that_say_when_a_byte_is_wrong(tmp_path):
    from sbp.run.state import load_state, save_state

    save_state(tmp_path, "me", {"x": torch.arange(100_000)})
    path = tmp_path / "state.pt"
    assert zipfile.ZipFile(path).testzip() is None
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert load_state(tmp_path, "me") is None
