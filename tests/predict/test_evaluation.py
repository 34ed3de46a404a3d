"""`sbp evaluate`: a threshold is chosen on the validation split and tried on another."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from sbp.cli.evaluate import as_values, text_of
from sbp.cli.main import main
from sbp.metrics import ImageGroups, MatchedRegions
from sbp.predict.evaluation import ChosenPoint, SplitReport, chosen_points
from sbp.run.execute import run
from sbp.utils.progress import Progress
from tests.conftest import make_config


def regions(confidence: list[float], image: list[int], found_at: list[float]) -> MatchedRegions:
    """Those of one defect; their IoU and size do not matter here."""
    matched = np.zeros((len(confidence), 1), dtype=bool)
    share, found = np.full(len(found_at), 0.01), np.array(found_at, dtype=float)
    return MatchedRegions(np.array(confidence), matched, np.array(image, dtype=int), share, found)


def test_the_threshold_of_the_validation_split_is_applied_to_the_other_one():
    """Two of four are found from 0.7 on, in the validation split; from there on the other one finds one of
    two, and has two regions on its four healthy images, one of which is a look-alike. Recall 0.8 would take
    four of four, and one is never found."""
    known = regions([0.9, 0.7, 0.6], [0, 0, 0], [0.9, 0.7, 0.6, -math.inf])
    here = regions([0.8, 0.5, 0.9, 0.7, 0.6], [0, 0, 1, 2, 3], [0.8, 0.5])
    groups = ImageGroups(np.array([0, 1, 1, 1, 1], bool), np.array([0, 0, 1, 0, 0], bool))
    half, more = chosen_points(["dent"], [known], [here], groups)
    assert half == ChosenPoint("dent", 0.5, 0.7, 0.5, 2 / 4, 1.0)
    assert more.recall == 0.8
    numbers = (more.threshold, more.reached, more.false_regions, more.lookalike_false_regions)
    assert all(map(math.isnan, numbers))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """Of a model that has learnt little: every image is one region, which finds whatever is in it."""
    folder = tmp_path_factory.mktemp("run")
    common = ("budget.compute=2", "model.encoder_depth=3", "model.decoder_channels=[16,8,8]", "tracking=none")
    run(
        make_config(
            *common,
            "selection=none",
            "evaluation.threshold=0.000001",
            "evaluation.iou_thresholds=[0.0001]",
            f"output_root={folder}",
            run_dir=str(folder),
        ),
        {},
        {},
        Progress(),
    )
    return folder / "last.pt"


def evaluated(monkeypatch, *arguments: str) -> None:
    monkeypatch.setattr("sys.argv", ["sbp", "evaluate", *arguments])
    main()


def test_a_trained_model_is_evaluated_into_a_table_and_a_file(checkpoint, monkeypatch, capsys, tmp_path):
    evaluated(monkeypatch, str(checkpoint), "--out", str(tmp_path / "test.json"))
    shown, told = capsys.readouterr().out, json.loads((tmp_path / "test.json").read_text())
    assert "sbp predict --threshold" in shown
    assert "by the threshold of the validation split" in shown
    header, quality = shown.splitlines()[2:4]
    assert header.split() == ["scratch", "broken", "all"]
    assert float(quality.split()[-1]) == pytest.approx(told["metrics"]["test/map"], abs=6e-4)
    points = told["by_validation_threshold"]
    assert [(p["defect"], p["recall"]) for p in points] == [
        (defect, recall) for defect in ("scratch", "broken") for recall in (0.5, 0.8)
    ]
    assert {key.split("/")[0] for key in told["metrics"]} == {"test"}
    evaluated(monkeypatch, str(checkpoint), "--split", "val", "--out", str(tmp_path / "val.json"))
    assert "by the threshold of" not in capsys.readouterr().out
    own = json.loads((tmp_path / "val.json").read_text())
    assert own["by_validation_threshold"] == []
    assert any(point["threshold"] for point in points)
    for point in points:
        at = f"r{100 * point['recall']:.0f}/{point['defect']}"
        assert point["threshold"] == own["metrics"][f"val/threshold/{at}"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--split", "tests"], "--split tests: must be one of train, val, test"),
        (["--out", "missing/a.json"], "--out missing/a.json: its folder does not exist"),
        (["--out", "."], "--out .: is a folder"),
    ],
)
def test_a_mistake_is_one_line(checkpoint, arguments, message, monkeypatch, capsys):
    with pytest.raises(SystemExit) as stopped:
        evaluated(monkeypatch, str(checkpoint), *arguments)
    assert stopped.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1] == f"sbp: {message}"


def test_what_no_threshold_reaches_is_never_and_what_is_unknown_a_dash():
    """And null in the file, which has no word for infinity."""
    metrics = {
        "test/false_regions/r80/dent": math.inf,
        "test/false_regions/r80": math.inf,
        "test/map": math.nan,
    }
    report = SplitReport("test", 9, ["dent"], make_config(), metrics, [])
    lines = text_of(report).splitlines()
    (alarms,) = [line for line in lines if "per healthy image" in line]
    assert alarms.split()[-2:] == ["never", "never"]
    (quality,) = [line for line in lines if line.startswith("mAP")]
    assert quality.split() == ["mAP", "-", "-"]
    assert set(as_values(report, Path("last.pt"))["metrics"].values()) == {None}
