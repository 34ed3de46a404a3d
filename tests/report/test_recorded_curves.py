"""Which curves are recorded, at which epochs, and that nothing reads others."""

import json
from collections.abc import Iterator, Mapping

import numpy as np
import pytest

from sbp.report.measures import arm_key
from sbp.report.recorded_curves import as_recorded, curve_rows, recorded_metrics
from sbp.report.results import epoch_s, epochs, kept_fraction, result_row, time_of, time_text
from sbp.report.section_figures import section_pictures
from sbp.report.section_pages import section_page
from sbp.report.sections import chosen_sections
from sbp.report.study import Study, defect_roles
from sbp.tracking.imported import ROW
from sbp.tracking.runs import History, RecordedRun

PARAMS = {
    "seed": "0", "scale": "cpu", "label": "an arm", "budget.compute": "8.0", "data.image_size": "64",
    "data.defects": "['scratch', 'broken']", "data.common": "['scratch']", "data.rare": "['broken']",
}  # fmt: skip
ROLES = {"common": "scratch", "rare": "broken"}


def long_run(epochs: int = 100, exclusive: bool = False) -> RecordedRun:
    """Validated every tenth epoch, scored every fourth one."""
    steps, seconds = np.arange(epochs), np.arange(epochs) * 1.23456789 + 1
    metrics = {
        "train/loss": (steps, 1 / (steps + 1)),
        "train/kept_fraction": (steps, np.where(steps == 0, 1.0, 0.123456789)),
        "val/map": (steps[4::10], steps[4::10] / 300),
        "scores/max/broken/broken/q50": (steps[::4], 1.0 + steps[::4]),
        "cost/baseline_epochs": (steps, 0.3 * (steps + 1)),
        "time/work_s": (steps, seconds),
        "test/map": (steps[-1:], np.array([0.123456789])),
    }
    tags = {"exclusive": str(exclusive).lower(), "results.version": "2"}
    return RecordedRun("id", "an arm / x / seed 0", "FINISHED", PARAMS, tags, metrics)


def test_a_long_metric_keeps_what_was_validated_and_its_ends():
    run, thin = long_run(), as_recorded(long_run())
    assert thin.series("train/loss")[0].tolist() == [0, *range(4, 100, 10), 99]
    assert thin.last("train/loss") == 0.01
    assert thin.series("val/map")[0].tolist() == list(range(4, 100, 10))
    assert thin.values("test/map").tolist() == [0.123457]
    scores = "scores/max/broken/broken/q50"  # 25 values: few enough to keep them all
    np.testing.assert_array_equal(thin.values(scores), run.values(scores))
    assert len(thin.values("time/work_s")) == 100  # an axis
    assert np.isfinite(thin.at_steps_of(scores, "time/work_s")).all()


@pytest.mark.parametrize("run", [long_run(64), long_run(exclusive=True)])
def test_short_and_exclusive_runs_keep_every_epoch(run):
    thin = as_recorded(run)
    for key in run.metrics:
        np.testing.assert_array_equal(thin.series(key)[0], run.series(key)[0])
        np.testing.assert_allclose(thin.values(key), run.values(key), rtol=5e-6)


def test_what_is_recorded_is_recorded_again_as_it_was():
    (section,) = chosen_sections(["two_defects"])
    rows = curve_rows(section, [("id", long_run())], ROLES)
    assert len(rows) == 12  # ten validated epochs, and both ends
    series: dict[str, dict[int, float]] = {}
    for row in rows:
        for key, text in row.items():
            if key not in ("run_id", "step") and text:
                series.setdefault(key, {})[int(row["step"])] = float(text)
    metrics = {key: (np.array([*v]), np.array([*v.values()])) for key, v in series.items()}
    told = json.dumps(result_row(long_run()) | {"run_id": "id", "started": time_text(0)})
    first = long_run()
    again = RecordedRun("other", "n", "FINISHED", PARAMS, {**first.tags, ROW: told}, metrics)
    assert curve_rows(section, [("id", again)], ROLES) == rows
    assert result_row(again) == result_row(first)
    assert (epochs(again), epoch_s(again)) == (100, 1.23457)
    assert kept_fraction(again) == kept_fraction(first) == 0.132222


def test_moments_are_read_as_they_are_written():
    assert time_text(1_790_000_000_123) == "2026-09-21T14:13:20.123Z"
    assert time_of(time_text(1_790_000_000_123)) == 1_790_000_000_123


class Watched(Mapping[str, History]):
    """Has every metric, and notes which were read."""

    def __init__(self) -> None:
        self.read: set[str] = set()

    def __getitem__(self, key: str) -> History:
        self.read.add(key)
        return np.arange(5), np.linspace(0.1, 0.5, 5)

    def __iter__(self) -> Iterator[str]:
        return iter(["gradients/cosine/high/whole", "gradients/sign/low/encoder"])

    def __len__(self) -> int:
        return 2

    def __contains__(self, key: object) -> bool:
        return True


def test_whatever_figures_tables_and_claims_read_is_recorded():
    sections = chosen_sections()
    keys = [arm_key(arm, b) for s in sections for b in s.budgets for arm in s.arms]
    runs = {
        key: {0: RecordedRun(key, "r", "FINISHED", PARAMS, {"exclusive": "true"}, Watched())} for key in keys
    }
    study = Study("cpu", runs, [run for members in runs.values() for run in members.values()])
    roles = defect_roles(study)
    for section in sections:
        section_page(section, study, ())
        labels = {key: key for key in keys}
        list(section_pictures(section.name, section.file.figures, study.arms_of(section), labels, roles))
    for key, members in runs.items():
        read = set(members[0].metrics.read)
        recorded = set(result_row(members[0]))  # of which the end is imported
        for section in sections:
            if key in study.arms_of(section):
                recorded |= set(recorded_metrics(section, members[0], roles))
        assert read <= recorded, f"{key}: {sorted(read - recorded)}"
