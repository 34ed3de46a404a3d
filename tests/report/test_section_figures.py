"""The report's figures: curves with bands, bars with speed-ups, compositions, similarities."""

from types import SimpleNamespace

import numpy as np
import pytest

from sbp.plots.bars_figure import Bar, bar_text, bars_figure
from sbp.plots.budgets_figure import budgets_figure
from sbp.plots.composition_figure import composition_figure, shares
from sbp.plots.curve import Curve, band
from sbp.plots.curves_figure import curves_figure
from sbp.plots.similarity_figure import similarity_figure
from sbp.plots.style import WIDTH, figure_to_array
from sbp.report import section_figures
from tests.plots.test_figures import lines_of, texts_of

METRICS = {"val/map/a": "mAP of a", "val/map/b": "mAP of b"}


def curve(label="baseline", seed=0, epochs=4, step=1.0, values=None) -> Curve:
    cost = step * np.arange(1, epochs + 1)
    known = dict.fromkeys(METRICS, 0.1 * cost + 0.01 * seed) if values is None else values
    return Curve(label, seed, np.arange(epochs), cost, 10 * cost, known)


def test_a_curve_whose_series_differ_in_length_is_refused():
    with pytest.raises(ValueError, match=r"baseline: val/map/a has shape \(3,\), epoch \(4,\)"):
        curve(values={"val/map/a": np.zeros(3)})


def test_the_band_is_mean_lowest_and_highest_at_the_costs_all_seeds_share():
    fast, slow = curve(step=0.5, epochs=8), curve(seed=5, step=1.0)
    grid, mean, low, high = band([fast, slow], "val/map/a", "compute")
    assert (grid[0], grid[-1]) == (1.0, 4.0)
    np.testing.assert_allclose(low, 0.1 * grid)
    np.testing.assert_allclose(high, 0.1 * grid + 0.05)
    np.testing.assert_allclose(mean, 0.1 * grid + 0.025)


def test_runs_without_a_common_range_show_the_longest():
    early = curve(epochs=2)
    late = curve(epochs=6, values={"val/map/a": np.array([np.nan] * 3 + [1.0, 2.0, 3.0])})
    grid, mean, _, _ = band([early, late], "val/map/a", "compute")
    assert (grid.tolist(), mean.tolist()) == ([4, 5, 6], [1, 2, 3])


def test_a_metric_that_nobody_measured_has_no_band():
    assert band([curve(values={})], "val/map/a", "epoch") is None


def test_curves_have_a_panel_per_metric_a_line_per_arm_and_a_band_for_seeds():
    curves = [curve(label, seed) for label in ("baseline", "focus") for seed in (0, 1, 2)]
    figure = curves_figure(curves, METRICS, "compute", title="mAP over compute")
    assert len(figure.axes) == 2
    for axes in figure.axes:
        assert len(axes.collections) == 2  # a band per arm
        assert len([line for line in axes.lines if len(line.get_xdata()) > 1]) == 2
        assert axes.get_xlabel() == "compute (baseline epochs)"
    texts = texts_of(figure)
    assert {"baseline", "focus", "mAP of a", "mAP over compute"} <= set(texts)
    assert any("3 seeds" in text for text in texts)
    assert figure_to_array(figure).shape[1] == WIDTH


def test_budgets_stand_side_by_side_with_a_row_per_metric():
    short = [curve(label, seed) for label in ("baseline", "focus") for seed in (0, 1)]
    long = [curve("baseline", seed, epochs=20) for seed in (0, 1)]
    figure = budgets_figure({"short": short, "long": long}, METRICS, "compute", title="Both budgets")
    titles = [axes.get_title("left") for axes in figure.axes]
    assert titles == [f"mAP of {defect}, {budget} budget" for defect in "ab" for budget in ("short", "long")]
    first, second, third, _ = figure.axes
    assert first.get_ylim() == second.get_ylim()
    assert third.get_xlim()[1] == first.get_xlim()[1] < second.get_xlim()[1]
    focus = {line.get_color() for line in first.lines} - {line.get_color() for line in second.lines}
    assert len(focus) == 1  # the arm that the long budget lacks; the other has one colour at both
    texts = texts_of(figure)
    assert texts.count("baseline") == 1
    assert any("2 seeds" in text for text in texts)


def test_budgets_without_runs_are_refused():
    with pytest.raises(ValueError, match="needs curves"):
        budgets_figure({"short": [], "long": []}, METRICS, "compute", title="t")


def test_one_seed_has_no_band_and_says_nothing_of_seeds():
    figure = curves_figure([curve()], METRICS, "epoch", title="t")
    assert not figure.axes[0].collections
    assert not any("seeds" in text for text in texts_of(figure))


def test_an_arm_without_data_is_named_and_an_empty_panel_says_so():
    curves = [curve(values={"val/map/a": np.ones(4)}), curve("lost", values={})]
    texts = texts_of(curves_figure(curves, METRICS, "epoch", title="t"))
    assert "lost (no data)" in texts
    assert "no data" in texts  # the panel of b


def test_maps_share_their_axis_and_logarithms_are_drawn():
    low, high = np.full(4, 0.1), np.full(4, 0.9)
    curves = [curve(values={"val/map/a": low, "val/map/b": high})]
    first, second = curves_figure(curves, METRICS, "epoch", title="t").axes
    assert first.get_ylim() == second.get_ylim()
    assert curves_figure(curves, METRICS, "epoch", title="t", log_y=True).axes[0].get_yscale() == "log"


def test_twenty_arms_fit_their_legend():
    labels = [f"focus both, beta {n}, stale_smart, upsampled" for n in range(20)]
    figure = curves_figure([curve(label) for label in labels], METRICS, "epoch", title="t")
    assert set(labels) <= set(texts_of(figure))
    figure_to_array(figure)
    (legend,) = figure.legends
    box = legend.get_window_extent()
    assert 0 <= box.x0 < box.x1 <= WIDTH
    assert box.y0 > max(axes.get_tightbbox().y1 for axes in figure.axes)


def test_names_with_dollars_are_drawn_as_they_are():
    figure = curves_figure([curve("cost $x^2$")], {"val/map/a": "a $b$"}, "epoch", title="$")
    assert {"cost $x^2$", "a $b$"} <= set(texts_of(figure))
    figure_to_array(figure)


def test_bars_say_seconds_speed_up_and_ideal():
    first = Bar("baseline", {"training": [4.0, 6.0]})
    fast = Bar("focus", {"scoring": [0.5, 0.5], "training": [0.5, 1.0]}, ideal=4.1)
    assert bar_text(first, first, "s") == "5 s"
    assert bar_text(fast, first, "s") == "1.25 s  (4.0x, ideal 4.1x)"
    assert bar_text(Bar("lost", {}), first, "s") == "not measured"
    assert bar_text(fast, Bar("lost", {}), "s") == "1.25 s"
    figure = bars_figure([first, fast, Bar("lost", {})], title="t", unit="s")
    assert {"5 s", "not measured", "scoring", "training"} <= set(texts_of(figure))
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == ["baseline", "focus", "lost"]
    assert figure.axes[0].yaxis_inverted()  # the first on top
    figure_to_array(figure)


def composed(label="focus", several=0.0) -> Curve:
    values = {
        "train/kept_fraction": np.array([1.0, 0.2, 0.1, 0.1]),
        "train/share/several": np.full(4, several),
    }
    values |= {"train/share/healthy": np.full(4, 0.5), "train/share/a": np.full(4, 0.3)}
    values |= {"train/share/b": np.full(4, 0.2 - several)}
    return curve(label, values=values)


def test_the_composition_stacks_to_the_kept_share_and_to_one():
    stack = shares(composed(several=0.1), ["a", "b"])
    np.testing.assert_allclose(stack.sum(axis=0), 1)
    figure = composition_figure([composed(), composed("balanced")], ["a", "b"], title="t")
    upper, lower = figure.axes[:2]
    tops = [patch.get_data() for patch in upper.patches]
    np.testing.assert_allclose(tops[-1].values, [1.0, 0.2, 0.1, 0.1])
    assert upper.get_ylim()[1] < 0.3  # the first epoch, which trains on everything, does not set the axis
    np.testing.assert_allclose(lower.patches[-1].get_data().values, 1)
    assert {"healthy", "a", "b", "several defects", "focus", "balanced"} <= set(texts_of(figure))


def test_the_similarity_has_rows_of_measures_and_columns_of_groups():
    keys = [
        f"gradients/{m}/{name}/{group}"
        for m in ("cosine", "sign")
        for name in ("high", "random", "low")
        for group in ("whole", "encoder")
    ]
    figure = similarity_figure([curve(values={key: np.full(4, 0.5) for key in keys})], title="t")
    assert len(figure.axes) == 4
    assert all(len([x for x in lines_of(axes) if len(x.get_xdata()) > 1]) == 3 for axes in figure.axes)
    assert {"high loss", "low loss", "cosine, whole", "equal signs, encoder"} <= set(texts_of(figure))


@pytest.mark.parametrize(
    "draw",
    [
        lambda: curves_figure([], METRICS, "epoch", title="t"),
        lambda: curves_figure([curve()], {}, "epoch", title="t"),
        lambda: bars_figure([], title="t", unit="s"),
        lambda: composition_figure([], ["a"], title="t"),
        lambda: similarity_figure([], title="t"),
    ],
)
def test_nothing_to_draw_is_refused(draw):
    with pytest.raises(ValueError, match="needs"):
        draw()


def test_runs_without_the_shares_have_no_panel_in_a_composition(monkeypatch):
    """As those that are taken over from results.csv."""

    def run(*metrics: str) -> SimpleNamespace:
        return SimpleNamespace(metrics=dict.fromkeys(metrics, 1), defects=["a"])

    shown: list[str] = []
    monkeypatch.setattr(section_figures, "_curves_of", lambda arms, labels, metrics: shown.extend(arms))
    spec = SimpleNamespace(kind="composition", title="t", metrics={})
    arms = {"here": {0: run("train/share/healthy")}, "taken": {0: run("val/map")}, "none": {}}
    assert len(section_figures._composition(spec, arms, {}, {})) == 1
    assert shown == ["here"]
    assert section_figures._composition(spec, {"taken": arms["taken"]}, {}, {}) == []
