"""Predicting a folder: every image has a result of its own, whatever else is there, however it ends."""

import csv
import logging
import os
import shutil
import signal
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from sbp.build import trainer as build
from sbp.data.disk.resize import Resizer
from sbp.errors import UserError
from sbp.predict import predict_folder, predictions
from sbp.run.callbacks.description import public_config
from sbp.run.checkpoint import save_checkpoint
from sbp.seeding import seed_everything
from tests.conftest import make_config
from tests.processes import command, start

DEFECTS = ["scratch", "broken"]


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory) -> tuple[Path, Path]:
    """Two untrained models of one config, from different seeds."""
    folder, made = tmp_path_factory.mktemp("checkpoints"), []
    for seed in (0, 1):
        config = make_config("model.encoder_depth=3", "model.decoder_channels=[16,8,8]", f"seed={seed}")
        seed_everything(seed)
        about = {"config": public_config(config), "defects": DEFECTS, "mean": [0.4], "std": [0.2]}
        made.append(folder / f"{seed}.pt")
        save_checkpoint(made[-1], build.build_model(config, 2), epoch=0, metrics={}, **about)
    return made[0], made[1]


@pytest.fixture
def checkpoint(checkpoints) -> Path:
    return checkpoints[0]


def write_image(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = np.random.default_rng(seed).integers(0, 255, (40, 50)).astype(np.uint8)
    cv2.imencode(path.suffix, image)[1].tofile(path)
    return path


def write_images(folder: Path, *names: str) -> Path:
    for number, name in enumerate(names):
        write_image(folder / name, number)
    return folder


def damage(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[:-20])
    return path


def table(out: Path) -> list[dict[str, str]]:
    with open(out / "predictions.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def pictures(out: Path) -> dict[str, bytes]:
    """Every picture in an output folder, by its place there."""
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*.png"))}


def times(out: Path) -> dict[str, int]:
    return {str(path.relative_to(out)): path.stat().st_mtime_ns for path in out.rglob("*.png")}


def test_four_images_of_one_stem_give_four_results(checkpoint, tmp_path):
    names = ("part1.TIF", "part1.jpg", "part1.png", "part1.bmp.png")
    found = dict(predict_folder(checkpoint, write_images(tmp_path / "in", *names), tmp_path / "out"))
    assert [path.name for path in found] == sorted(names)
    for folder in ("masks/scratch", "masks/broken", "overlays"):
        shown = {path.name for path in (tmp_path / "out" / folder).iterdir()}
        assert shown == {"part1.TIF.png", "part1.jpg.png", "part1.png.png", "part1.bmp.png"}
    assert len(set(pictures(tmp_path / "out").values())) >= 4


def test_subfolders_come_back_as_a_tree(checkpoint, tmp_path):
    folder = write_images(tmp_path, "a.png", "day/a.png", "day/b/a.png", ".hidden/a.png")
    out = folder / "predictions"
    for _ in range(2):  # the second time, the output is there and is not predicted
        found = dict(predict_folder(checkpoint, folder, out, 0.4))
        assert list(found) == [folder / "a.png", folder / "day/a.png", folder / "day/b/a.png"]
    shown = {str(path.relative_to(out / "overlays")) for path in (out / "overlays").rglob("*.png")}
    assert shown == {"a.png", "day/a.png", "day/b/a.png"}


def test_a_damaged_image_is_skipped_and_named(checkpoint, tmp_path, caplog):
    folder = write_images(tmp_path / "in", "a.png", "b.png", "c.png")
    damage(folder / "b.png")
    with caplog.at_level(logging.WARNING):
        found = dict(predict_folder(checkpoint, folder, tmp_path / "out"))
    assert [path.name for path in found] == ["a.png", "c.png"]
    assert f"{folder / 'b.png'}: is cut off" in caplog.text
    rows = table(tmp_path / "out")
    assert [row["image"] for row in rows] == ["a.png", "b.png", "c.png"]
    assert (rows[1]["scratch"], rows[1]["broken"]) == ("", "")
    assert "is cut off" in rows[1]["error"]
    assert rows[0]["error"] == ""
    assert float(rows[0]["scratch"]) == pytest.approx(found[folder / "a.png"]["scratch"], abs=1e-9)


def test_an_image_that_vanishes_meanwhile_is_skipped(checkpoint, tmp_path):
    folder = write_images(tmp_path / "in", "a.png", "b.png")
    found = predictions(checkpoint, folder, tmp_path / "out")
    assert not next(found).error
    (folder / "b.png").unlink()
    assert next(found).error == f"{folder / 'b.png'}: cannot be read (No such file or directory)"


@pytest.mark.parametrize("error", [MemoryError(), torch.OutOfMemoryError("of 80 GiB"), cv2.error("too wide")])
def test_an_image_that_is_too_large_is_skipped(error, checkpoint, tmp_path, monkeypatch):
    folder, real = write_images(tmp_path / "in", "a.png", "b.png"), Resizer.image

    def image(self, pixels):
        if pixels.shape[1] == 200:
            raise error
        return real(self, pixels)

    cv2.imwrite(str(folder / "a.png"), np.zeros((30, 200), np.uint8))
    monkeypatch.setattr(Resizer, "image", image)
    first, second = predictions(checkpoint, folder, tmp_path / "out")
    assert first.error == f"{folder / 'a.png'}: cannot be read ({str(error) or 'MemoryError'})"
    assert second.highest


def test_the_command_predicts_the_others_and_ends_with_1(checkpoint, tmp_path):
    folder = write_images(tmp_path / "in", "a.png", "b.png", "sub/c.png")
    damage(folder / "b.png")
    done = command("predict", str(checkpoint), str(folder), "--out", str(tmp_path / "out"), output=tmp_path)
    assert done.returncode == 1
    first, second, last = done.stdout.splitlines()
    assert first.startswith("a.png  scratch 0.")
    assert second.startswith("sub/c.png  scratch 0.")
    assert last == f"masks and overlays in {tmp_path / 'out'}"
    skipped, reason = done.stderr.splitlines()
    assert skipped == "sbp: 1 image was skipped"
    assert reason.startswith(f"  {folder / 'b.png'}: is cut off")


def test_what_is_done_is_not_done_again(checkpoint, tmp_path):
    folder, out = write_images(tmp_path / "in", "a.png", "b.png", "c.png"), tmp_path / "out"
    first = list(predict_folder(checkpoint, folder, out))
    before, rows = times(out), table(out)
    write_image(folder / "b.png", seed=9)
    (out / "masks/broken/c.png").unlink()
    write_image(folder / "d.png")
    again = list(predictions(checkpoint, folder, out))
    assert [found.before for found in again] == [True, False, False, False]
    assert (again[0].path, again[0].highest) == first[0]  # to the last bit
    changed = {name for name, moment in times(out).items() if before.get(name) != moment}
    assert {Path(name).name for name in changed} == {"b.png", "c.png", "d.png"}
    assert table(out)[0] == rows[0]
    assert len(table(out)) == 4


def test_an_image_that_breaks_loses_its_earlier_result(checkpoint, tmp_path):
    folder, out = write_images(tmp_path / "in", "a.png", "b.png"), tmp_path / "out"
    list(predict_folder(checkpoint, folder, out))
    damage(folder / "a.png")
    assert [bool(found.error) for found in predictions(checkpoint, folder, out)] == [True, False]
    assert {Path(name).name for name in pictures(out)} == {"b.png"}


def test_images_that_were_moved_away_keep_their_results(checkpoint, tmp_path):
    """A folder that fills and is emptied: part1.png comes when part1.jpg has gone."""
    folder, out = write_images(tmp_path / "in", "part1.jpg"), tmp_path / "out"
    list(predict_folder(checkpoint, folder, out))
    kept = pictures(out)
    (folder / "part1.jpg").unlink()
    write_image(folder / "part1.png", seed=5)
    list(predict_folder(checkpoint, folder, out))
    assert kept.items() <= pictures(out).items()
    assert [(row["image"], row["output"]) for row in table(out)] == [
        ("part1.jpg", "part1.png"),
        ("part1.png", "part1.png.png"),
    ]


def test_an_image_whose_name_is_shared_from_now_on_has_one_result(checkpoint, tmp_path):
    folder, out = write_images(tmp_path / "in", "part1.jpg"), tmp_path / "out"
    list(predict_folder(checkpoint, folder, out))
    write_image(folder / "part1.png", seed=5)
    list(predict_folder(checkpoint, folder, out))
    shown = {path.name for path in (out / "masks/scratch").iterdir()}
    assert shown == {"part1.jpg.png", "part1.png.png"}


@pytest.mark.parametrize("other", ["checkpoint", "threshold"])
def test_with_another_checkpoint_or_threshold_all_is_predicted_anew(checkpoints, other, tmp_path, caplog):
    folder, out = write_images(tmp_path / "in", "a.png", "b.png"), tmp_path / "out"
    list(predict_folder(checkpoints[0], folder, out))
    changed = (checkpoints[1], 0.5) if other == "checkpoint" else (checkpoints[0], 0.01)
    again = list(predictions(changed[0], folder, out, changed[1]))
    assert [found.before for found in again] == [False, False]
    (line,) = [record.message for record in caplog.records]
    assert line == f"{out}: was made with another {other}, all is predicted anew"
    fresh = tmp_path / "fresh"
    list(predict_folder(changed[0], folder, fresh, changed[1]))
    assert pictures(out) == pictures(fresh)
    assert (out / "predictions.csv").read_bytes() == (fresh / "predictions.csv").read_bytes()


def test_a_copied_checkpoint_is_the_same_checkpoint(checkpoint, tmp_path):
    folder, out = write_images(tmp_path / "in", "a.png"), tmp_path / "out"
    list(predict_folder(checkpoint, folder, out))
    copied = shutil.copy(checkpoint, tmp_path / "copied.pt")
    assert [found.before for found in predictions(copied, folder, out)] == [True]


def test_predictions_of_other_images_are_not_overwritten(checkpoint, tmp_path):
    out = tmp_path / "out"
    list(predict_folder(checkpoint, write_images(tmp_path / "monday", "a.png"), out))
    kept = pictures(out)
    tuesday = write_images(tmp_path / "tuesday", "b.png", "a.png")
    with pytest.raises(
        UserError, match=rf"out: holds the predictions of .*{tmp_path.name}/monday; choose an"
    ):
        list(predict_folder(checkpoint, tuesday, out))
    assert pictures(out) == kept


def test_annotations_are_not_overwritten(checkpoint, tmp_path):
    """The output folder is the data set's own: images/ and masks/ lie there."""
    folder = write_images(tmp_path, "images/a.png", "masks/scratch/a.png")
    kept = pictures(folder)
    with pytest.raises(UserError, match=r"holds images, which is no prediction of sbp"):
        list(predict_folder(checkpoint, folder / "images", folder))
    assert pictures(folder) == kept


def test_an_output_that_cannot_be_a_folder_is_one_line(checkpoint, tmp_path):
    folder, out = write_images(tmp_path / "in", "a.png"), tmp_path / "out"
    out.touch()
    done = command("predict", str(checkpoint), str(folder), "--out", str(out), output=tmp_path)
    assert (done.returncode, done.stderr) == (2, f"sbp: {out}: File exists\n")


def test_two_predictions_do_not_write_to_one_folder(checkpoint, tmp_path):
    folder, out = write_images(tmp_path / "in", "a.png", "b.png"), tmp_path / "out"
    first = predictions(checkpoint, folder, out)
    next(first)
    with pytest.raises(UserError, match="out: another prediction writes there; choose another folder"):
        next(predictions(checkpoint, folder, out))
    assert len(list(first)) == 1


def test_half_a_row_and_rows_that_somebody_broke_do_not_count(checkpoint, tmp_path):
    folder, out = write_images(tmp_path / "in", "a.png", "b.png", "c.png"), tmp_path / "out"
    list(predict_folder(checkpoint, folder, out))
    whole, path = (out / "predictions.csv").read_text(), out / "predictions.csv"
    lines = whole.splitlines(keepends=True)
    path.write_text(lines[0] + lines[1] + lines[2].replace(",", ";") + lines[3][:-4])
    assert [found.before for found in predictions(checkpoint, folder, out)] == [True, False, False]
    assert path.read_text() == whole


@pytest.mark.skipif(os.name != "posix", reason="names are bytes on POSIX alone")
def test_names_of_every_kind_come_back_from_the_table(checkpoint, tmp_path):
    names = ['a "b", c.png', "line\nbreak.png", "größer.png", os.fsdecode(b"latin\xe9.png"), "-x.png"]
    folder, out = write_images(tmp_path / "in", *names), tmp_path / "out"
    first = list(predict_folder(checkpoint, folder, out))
    assert {path.name for path, _ in first} == set(names)
    assert all(found.before for found in predictions(checkpoint, folder, out))
    done = command("predict", str(checkpoint), str(folder), "--out", str(out), output=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "(done before: 5 of 5)" in done.stdout


MANY = tuple(f"{n:03}.png" for n in range(60))


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (signal.SIGKILL, -9),
        pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow),
    ],
)
def test_a_prediction_that_was_stopped_continues(checkpoint, number, code, tmp_path):
    folder, out, other = write_images(tmp_path / "in", *MANY), tmp_path / "out", tmp_path / "other"
    arguments = ("predict", str(checkpoint), str(folder), "--out")
    process = start("sbp.cli.main", *arguments, str(out), output=tmp_path, log=tmp_path / "log.txt")
    process.wait_for(lambda: len(list((out / "overlays").glob("*.png"))) > 5)
    process.signal(number)
    assert process.wait() == code
    log = (tmp_path / "log.txt").read_text()
    assert "Traceback" not in log
    assert ("sbp: stopped; the same command continues there" in log) == (number == signal.SIGINT)
    before = times(out)
    assert len(before) < 3 * len(MANY)
    assert all(cv2.imread(str(out / name)) is not None for name in before)
    known = {row["image"] for row in table(out)[:-1]}
    assert command(*arguments, str(out), output=tmp_path).returncode == 0
    after = times(out)
    assert {name for name in before if after[name] == before[name]} >= {f"overlays/{name}" for name in known}
    assert command(*arguments, str(other), output=tmp_path).returncode == 0
    assert pictures(out) == pictures(other)
    assert table(out) == table(other)
    assert not list(out.rglob("*.tmp"))


def test_a_reader_that_goes_away_stops_nothing(checkpoint, tmp_path):
    """`sbp predict ... | head -1`."""
    folder, out, pipe = write_images(tmp_path / "in", *MANY[:20]), tmp_path / "out", tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    os.set_blocking(reader, True)
    arguments = ("predict", str(checkpoint), str(folder), "--out", str(out))
    process = start("sbp.cli.main", *arguments, output=tmp_path, log=tmp_path / "log.txt", out=pipe)
    process.wait_for(lambda: (out / "predictions.csv").is_file())
    head = b""
    while b"\n" not in head:
        head += os.read(reader, 1)
    os.close(reader)
    assert head.startswith(b"000.png  scratch")
    assert process.wait() == 0
    assert (tmp_path / "log.txt").read_text() == ""
    assert len(list((out / "overlays").glob("*.png"))) == 20
    assert len(table(out)) == 20
