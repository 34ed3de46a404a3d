"""`sbp mine` on a folder: what it leaves, that it goes on, and what goes wrong."""

import csv
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from sbp.build import trainer as build
from sbp.errors import UserError
from sbp.mine import mine, mining
from sbp.mine.scores import Believer
from sbp.predict import restore
from sbp.run.callbacks.description import public_config
from sbp.run.checkpoint import save_checkpoint
from sbp.seeding import seed_everything
from tests.conftest import make_config
from tests.processes import command

DEFECTS = ["scratch", "broken"]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("run") / "best.pt"
    config = make_config("model.encoder_depth=3", "model.decoder_channels=[16,8,8]")
    seed_everything(0)
    about = {"config": public_config(config), "defects": DEFECTS, "mean": [0.4], "std": [0.2]}
    save_checkpoint(path, build.build_model(config, 2), epoch=0, metrics={}, **about)
    return path


@pytest.fixture
def folder(tmp_path) -> Path:
    """Twelve images of their own, and the first of them once more, a little darker."""
    rng, folder = np.random.default_rng(0), tmp_path / "new"
    for number in range(12):
        pixels = cv2.resize(rng.integers(0, 255, (24, 24)).astype(np.uint8), (96, 96))
        place = folder / ("a" if number % 2 else "b")
        place.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(place / f"{number:02}.png"), pixels)
        if number == 0:
            cv2.imwrite(str(folder / "copy.png"), (pixels * 0.9).astype(np.uint8))
    return folder


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_chosen_images_are_linked_ranked_and_shown(checkpoint, folder, tmp_path):
    found = mine(checkpoint, folder, tmp_path / "out", images=5)
    table = rows(found.table)
    assert len(table) == 13
    assert [float(row["score"]) for row in table] == sorted((float(r["score"]) for r in table), reverse=True)
    chosen = [row["image"] for row in table if row["chosen"]]
    assert len(chosen) == 5
    linked = {path.relative_to(found.folder).as_posix() for path in found.folder.rglob("*.png")}
    assert linked == set(chosen)
    assert all((found.folder / name).resolve() == (folder / name).resolve() for name in chosen)
    assert [row["image"] for row in rows(found.folder / "list.csv")] == chosen
    sheet = cv2.imread(str(found.sheet))
    assert sheet.shape[1] > 400
    assert len(np.unique(sheet)) > 50


def test_what_looks_alike_is_not_annotated_twice(checkpoint, folder, tmp_path):
    found = mine(checkpoint, folder, tmp_path / "out", images=None)
    names = {str(found.images[number]) for number in found.choice.chosen}
    assert len(names & {"copy.png", "b/00.png"}) == 1
    assert len(names) == 12
    (twin,) = [row for row in rows(found.table) if row["looks_like"]]
    assert {twin["image"], twin["looks_like"]} == {"copy.png", "b/00.png"}


def test_another_rule_or_budget_costs_no_pass_and_a_stopped_call_goes_on(
    checkpoint, folder, tmp_path, monkeypatch
):
    first = mine(checkpoint, folder, tmp_path / "out", images=3, copy=True)
    seen: list[str] = []
    scored = mining._scored
    monkeypatch.setattr(
        mining, "_scored", lambda part, b: seen.extend(str(r.image) for r in part) or scored(part, b)
    )
    second = mine(checkpoint, folder, tmp_path / "out", images=4, by="stratified", seed=3)
    assert not seen
    assert second.folder == first.folder
    assert len(list(second.folder.rglob("*.png"))) == 4
    # killed while it wrote: a row is cut off; one image is new, one has changed
    table = tmp_path / "out" / "scores.csv"
    table.write_text(table.read_text()[:-20])
    cut = table.read_text().splitlines()[-1].split(",")[0]
    shutil.copy(folder / "a/01.png", folder / "new.png")
    cv2.imwrite(str(folder / "a/03.png"), np.full((96, 96), 7, np.uint8))
    third = mine(checkpoint, folder, tmp_path / "out", images=3)
    assert set(seen) == {cut, "new.png", "a/03.png"}
    whole = mine(checkpoint, folder, tmp_path / "whole", images=3)
    assert third.images == whole.images
    np.testing.assert_allclose(third.scores, whole.scores, rtol=1e-5)


def test_copies_are_files_of_their_own(checkpoint, folder, tmp_path):
    found = mine(checkpoint, folder, tmp_path / "out", images=2, copy=True)
    assert not any(path.is_symlink() for path in found.folder.rglob("*"))


def test_a_budget_of_defects_takes_as_many_images_as_hold_them(checkpoint, folder, tmp_path, monkeypatch):
    monkeypatch.setattr("sbp.mine.scores.expected_defects", lambda p: torch.full(p.shape[:2], 0.5))
    found = mine(checkpoint, folder, tmp_path / "out", images=None, defects=3)
    assert len(found.choice.chosen) == 3  # an image is expected to hold one, half of each defect


def test_the_random_choice_of_dropout_belongs_to_the_image(checkpoint):
    model, compute, _, _ = restore(checkpoint)
    believer = Believer(model, compute, dropout=4)
    images = torch.randint(0, 255, (3, 32, 32, 1), dtype=torch.uint8)
    p, together = believer(images, ["a", "b", "c"])
    _, alone = believer(images[1:2], ["b"])
    torch.testing.assert_close(together[:, 1:2], alone)
    assert together.shape == (4, 3, 2, 32, 32)
    assert (together[0] - together[1]).abs().max() > 1e-4
    torch.testing.assert_close(p, Believer(model, compute)(images, ["a", "b", "c"])[0])


def test_bald_ranks_by_how_much_the_passes_disagree(checkpoint, folder, tmp_path):
    found = mine(checkpoint, folder, tmp_path / "out", images=3, by="bald", dropout=3)
    assert (found.scores > 0).all()
    assert found.order.tolist() == np.argsort(-found.scores, kind="stable").tolist()


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        ({"images": 0}, "--images 0: must be at least 1"),
        ({"defects": 0.0}, "--defects 0: must be above 0"),
        ({"by": "loss"}, "--by loss: must be one of entropy, healthy_loss, bald, stratified, random"),
        ({"by": "bald"}, "--by bald: needs passes of Monte-Carlo dropout, as --mc-dropout 8"),
        ({"dropout": 1}, "--mc-dropout 1: must be 0 or at least 2"),
        ({"aggregation": "min"}, "--aggregation min: must be one of max, mean, topk_mean"),
        ({"power": 0.0}, "--power 0: must be above 0"),
    ],
)
def test_a_wrong_option_is_one_line(checkpoint, folder, tmp_path, keys, line):
    with pytest.raises(UserError, match=line):
        mine(checkpoint, folder, tmp_path / "out", **keys)
    assert not (tmp_path / "out").exists()


def test_a_folder_of_somebody_else_is_left_alone(checkpoint, folder, tmp_path):
    (tmp_path / "out/chosen").mkdir(parents=True)
    (tmp_path / "out/chosen/mine.txt").touch()
    with pytest.raises(UserError, match="holds what is not from here"):
        mine(checkpoint, folder, tmp_path / "out", images=2)
    assert (tmp_path / "out/chosen/mine.txt").exists()


def test_the_command_names_what_it_could_not_read(checkpoint, folder, tmp_path):
    (folder / "broken.png").write_bytes((folder / "a/01.png").read_bytes()[:99])
    done = command(
        "mine", str(checkpoint), str(folder), "--out", str(tmp_path / "out"), "--images", "2", output=tmp_path
    )
    assert done.returncode == 1, done.stderr
    assert "2 of 13 images" in done.stdout
    assert "left out: " in done.stderr
    assert "broken.png" in done.stderr
    empty = command("mine", str(checkpoint), str(tmp_path / "nowhere"), output=tmp_path)
    assert empty.returncode == 2
    assert "nowhere: no such folder" in empty.stderr
