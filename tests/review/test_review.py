"""`sbp review` as a whole: table, sheet and proposals of a run's annotations."""

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from experiments.review.ranking import hits, precision_at, recall_at
from sbp.build import trainer as build
from sbp.build.data import open_cached
from sbp.config import Config
from sbp.data.layouts import LAYOUTS
from sbp.errors import UserError
from sbp.review import review, reviewing
from sbp.run.callbacks.description import public_config
from sbp.run.checkpoint import save_checkpoint
from tests.conftest import make_config
from tests.data.test_formats import image
from tests.processes import command
from tests.report.test_report_page import read

SMALL = ("model.encoder_depth=3", "model.decoder_channels=[16,8,8]")
SIDE, PARTS = 64, 12


def run_folder(folder: Path, config: Config) -> Path:
    """The folder of a run that has not learnt anything."""
    folder.mkdir()
    defects = list(config.data.defects)
    about = {"config": public_config(config), "defects": defects, "mean": [0.4], "std": [0.2]}
    save_checkpoint(folder / "best.pt", build.build_model(config, len(defects)), epoch=0, metrics={}, **about)
    return folder


def table_of(found) -> list[dict[str, str]]:
    with found.table.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def generated(tmp_path) -> tuple[Path, Config]:
    """A run on generated images of which every third defect is not annotated."""
    words = ["data.missing_annotations=0.34", "scale.train_images=100", f"output_root={tmp_path / 'out'}"]
    config = make_config(*SMALL, *words)
    return run_folder(tmp_path / "run", config), config


def all_knowing(monkeypatch) -> None:
    """A model that sees the true masks, and is a little less sure of each next image."""

    def truth(checkpoint, config, data, device):
        for n in range(len(data.train)):
            sure = 0.95 - 0.2 * n / len(data.train)
            yield n, np.where(np.asarray(data.train.clean_masks[n]) == 1, sure, 0.01)

    monkeypatch.setattr(reviewing, "in_sample", truth)


def test_what_a_good_model_sees_and_nobody_marked_comes_first(generated, monkeypatch, tmp_path):
    run, config = generated
    all_knowing(monkeypatch)
    found = review(run, shown=5)
    split = open_cached(config).train
    named, total = hits(found.suspects, split)
    assert total >= 3
    assert precision_at(named, total) == recall_at(named, total, total) == 1
    rows = table_of(found)
    assert [row["rank"] for row in rows] == [str(k) for k in range(1, len(rows) + 1)]
    assert rows[0]["kind"] == "missing"
    assert [float(row["score"]) for row in rows] == sorted((float(r["score"]) for r in rows), reverse=True)
    page = read(found.sheet.read_text())
    shown = min(5, len(rows))
    assert len(page.sources) == 4 * shown
    assert rows[0]["image"] in page.text
    assert not {"script", "link"} & set(page.tags)
    # the proposals are what the model sees, and read as any set of that layout
    listing, shape = LAYOUTS["labelme"]().list(str(found.proposals)), split.image_shape
    assert len(listing.items) == len({row["image"] for row in rows[:5]})
    for item in listing.items:
        index = split.names.index(Path(item.name).stem)
        for d, defect in enumerate(config.data.defects):
            drawn = [a.mask(shape) for a in item.annotations.get(defect, ())]
            union = np.logical_or.reduce(drawn) if drawn else np.zeros(shape, bool)
            np.testing.assert_array_equal(union, split.clean_masks[index][:, :, d] == 1)


@pytest.fixture
def photographs(tmp_path) -> tuple[Path, Config]:
    """Parts that were photographed twice, with labelme's files: two marks on every second part; of one part,
    the mark is drawn in one photograph alone."""
    rng, root, rows = np.random.default_rng(0), tmp_path / "parts", ["name,group,split,defects"]
    for part in range(PARTS):
        surface = rng.integers(60, 160, (SIDE + 8, SIDE + 8)).astype(np.uint8)
        surface = cv2.resize(surface, (2 * SIDE + 16, 2 * SIDE + 16))
        for view in (0, 1):
            name = f"part{part:02}_{view}"
            rows.append(f"{name},part{part:02},{('train', 'val', 'test')[max(0, part - 6) // 2]},")
            pixels = surface[8 * view : 8 * view + 2 * SIDE, : 2 * SIDE].copy()
            image(root / f"{name}.png", pixels)
            if part % 2 and not (part == 3 and view):
                corners = [[20, 40], [50, 40], [50, 60], [20, 60]]
                shape = {"label": "dent", "points": corners, "shape_type": "polygon"}
                about = {"imagePath": f"{name}.png", "imageHeight": 2 * SIDE, "imageWidth": 2 * SIDE}
                (root / f"{name}.json").write_text(json.dumps(about | {"shapes": [shape]}))
    (root / "split.csv").write_text("\n".join(rows) + "\n")
    words = ["data=labelme", f"data.root={root}", r"data.group='part\d+'", "scale.real_image_size=64"]
    config = make_config(*SMALL, *words, "model=unet_small", f"output_root={tmp_path / 'out'}")
    return run_folder(tmp_path / "run", config), config


def test_images_on_disk_keep_their_size_and_what_nobody_doubts(photographs, monkeypatch):
    run, config = photographs
    split = open_cached(config).train
    first = next(n for n, held in enumerate(split.labels[:, 0]) if not held)

    def seen(checkpoint, config, data, device):
        for n in range(len(data.train)):
            p = np.where(np.asarray(data.train.masks[n]) == 1, 0.9, 0.01)
            if n == first:
                p[4:12, 40:52] = 0.9
            yield n, p

    monkeypatch.setattr(reviewing, "in_sample", seen)
    found = review(run)
    row = table_of(found)[0]
    assert (row["image"], row["kind"]) == (split.names[first], "missing")
    assert [int(row[key]) for key in ("left", "top", "width", "height")] == [80, 8, 24, 16]  # of 128 pixels
    listing = LAYOUTS["labelme"]().list(str(found.proposals))
    (item,) = [i for i in listing.items if i.name == split.names[first]]
    drawn = np.logical_or.reduce([a.mask((2 * SIDE, 2 * SIDE)) for a in item.annotations["dent"]])
    expected = np.zeros((2 * SIDE, 2 * SIDE), bool)
    expected[8:24, 80:104] = True
    assert (drawn & expected).sum() / (drawn | expected).sum() > 0.8


def test_another_photograph_of_the_part_is_evidence(photographs, monkeypatch):
    run, _ = photographs
    unsure = np.full((SIDE, SIDE, 1), 0.3)
    monkeypatch.setattr(
        reviewing, "in_sample", lambda c, cfg, data, dev: ((n, unsure) for n in range(len(data.train)))
    )
    rows = [row for row in table_of(review(run)) if row["kind"] == "contradiction"]
    assert [(row["image"], row["other_image"]) for row in rows] == [("part03_1", "part03_0")]


@pytest.mark.slow
def test_folds_are_trained_once_and_judge_what_they_have_not_seen(tmp_path):
    words = ["scale.train_images=60", "budget.compute=1.5", f"output_root={tmp_path / 'out'}"]
    config = make_config(*SMALL, *words, "data.rare_share=0.1")
    run = run_folder(tmp_path / "run", config)
    first = review(run, folds=2)
    written = {path: path.stat().st_mtime_ns for path in (run / "review").glob("fold_*/best.pt")}
    assert len(written) == 2
    again = review(run, folds=2, shown=3)
    assert written == {path: path.stat().st_mtime_ns for path in written}  # not trained again
    assert again.suspects == first.suspects
    (run / "review/fold_1/done.json").unlink()  # as if it had been stopped
    assert review(run, folds=2).suspects == first.suspects
    assert written[run / "review/fold_0/best.pt"] == (run / "review/fold_0/best.pt").stat().st_mtime_ns


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        ({"folds": 1}, "--folds 1: must be 0 or at least 2"),
        ({"target": "yolo"}, "--to yolo: must be one of masks, coco, labelme"),
        ({"shown": 0}, "--shown 0: must be at least 1"),
        ({"threshold": 1.0}, "--threshold 1.0: must be between 0 and 1"),
    ],
)
def test_a_wrong_option_is_one_line_before_anything_is_read(keys, line, tmp_path):
    with pytest.raises(UserError, match=line):
        review(tmp_path / "best.pt", **keys)


def test_a_folder_of_somebody_else_is_left_alone(generated):
    run, _ = generated
    (run / "review/proposals").mkdir(parents=True)
    with pytest.raises(UserError, match="proposals: is not from here; choose another folder with --out"):
        review(run)


def test_the_command_says_where_everything_is(generated):
    run, _ = generated
    done = command("review", str(run), output=run.parent / "out")
    assert done.returncode == 0, done.stderr
    for name in ("sheet.html", "suspects.csv", "proposals"):
        assert str(run / "review" / name) in done.stdout
        assert (run / "review" / name).exists()
    nothing = command("review", str(run.parent / "out"), output=run.parent / "out")
    assert nothing.returncode == 2
    assert "holds no best.pt" in nothing.stderr
