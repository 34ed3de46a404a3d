"""Figures: right sizes, labels and groups on realistic inputs, and the odd ones; not pixel by pixel."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import cv2
import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from sbp.plots.comparison import comparison_figure, mean_epoch_s
from sbp.plots.curve import Curve, band
from sbp.plots.examples import Example
from sbp.plots.gallery import COLUMNS, GalleryEntry, gallery_figure
from sbp.plots.histogram_figure import EpochHistogramPainter, ridge_figure
from sbp.plots.pictures import fit_map, outline_width, overlay, prediction_picture
from sbp.plots.style import (
    defect_colour,
    figure_to_array,
    group_colours,
    new_figure,
    rgb_bytes,
    run_style,
    save_png,
    shorten,
)

DEFECTS = ["door scratch", "door broken", "hinge gap", "blister", "label torn", "dent"]
EDGES = np.logspace(-5, 2, 61)


def fake_counts(num_defects: int, num_epochs: int = 1, seed: int = 0) -> np.ndarray:
    """(T, D, 1 + D, E): healthy images move to lower scores, a defect's own images stay high."""
    rng = np.random.default_rng(seed)
    counts = np.zeros((num_epochs, num_defects, 1 + num_defects, len(EDGES) - 1), dtype=int)
    for epoch in range(num_epochs):
        for column in range(num_defects):
            for group in range(1 + num_defects):
                centre = 0.6 if group == column + 1 else -0.2 - 0.05 * epoch
                scores = 10 ** rng.normal(centre, 0.4, 2000 if group == 0 else 40)
                counts[epoch, column, group] = np.histogram(scores, EDGES)[0]
    return counts


def epoch_histogram_image(counts, edges, defects, epoch) -> np.ndarray:
    return EpochHistogramPainter(edges, defects, list(counts)).paint(counts, epoch)


def colours_in(picture: np.ndarray) -> set[tuple[int, ...]]:
    return {tuple(colour) for colour in np.unique(picture.reshape(-1, 3), axis=0).tolist()}


def texts_of(figure: Figure) -> list[str]:
    """Every text of a figure: titles, labels of axes and ticks, legends, free texts."""
    return [text for text in (artist.get_text() for artist in figure.findobj(Text)) if text]


class TestStyle:
    def test_colours_differ_and_do_not_depend_on_the_number_of_groups(self):
        assert len(set(group_colours(6))) == 7
        assert group_colours(2) == group_colours(6)[:3]
        assert len({run_style(index) for index in range(21)}) == 21

    def test_shorten_keeps_either_end(self):
        assert shorten("scratch", 7) == "scratch"
        assert shorten("door scratch", 6) == "door…"
        assert shorten("a/b/part_17.png", 9, keep_end=True) == "…t_17.png"

    def test_figure_to_array_and_save_png_agree_on_the_size(self, tmp_path):
        figure = new_figure(320, 200)
        assert figure_to_array(figure).shape == (200, 320, 3)
        assert figure_to_array(figure).dtype == np.uint8
        path = save_png(figure, tmp_path / "new" / "figure.png", scale=2)
        assert cv2.imread(str(path)).shape == (400, 640, 3)

    def test_save_png_writes_an_array_as_it_is(self, tmp_path):
        picture = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
        path = save_png(picture, tmp_path / "picture.png")
        assert np.array_equal(cv2.imread(str(path))[..., ::-1], picture)
        with pytest.raises(ValueError, match="must be \\(h, w, 3\\) uint8"):
            save_png(picture.astype(float), tmp_path / "no.png")

    def test_the_same_figure_gives_the_same_bytes(self, tmp_path):
        paths = [
            save_png(ridge_figure([0], fake_counts(1), EDGES, DEFECTS[:1], "max"), tmp_path / f"{index}.png")
            for index in range(2)
        ]
        assert paths[0].read_bytes() == paths[1].read_bytes()


class TestEpochHistogram:
    @pytest.mark.parametrize("num_defects", [1, 2, 6])
    def test_picture_of_two_schemes(self, num_defects):
        counts = {"max": fake_counts(num_defects)[0], "mean": fake_counts(num_defects, seed=1)[0]}
        picture = epoch_histogram_image(counts, EDGES, DEFECTS[:num_defects], epoch=3)
        assert picture.dtype == np.uint8
        assert picture.shape == (420, 900, 3)
        own_colours = {rgb_bytes(colour) for colour in group_colours(num_defects)}
        assert own_colours <= colours_in(picture)

    def test_panels_and_labels(self):
        painter = EpochHistogramPainter(EDGES, DEFECTS[:2], ["max", "mean"])
        painter.paint({"max": fake_counts(2)[0], "mean": fake_counts(2)[0]}, 7)
        panels = [axes for axes in painter.figure.axes if axes.axison]  # the legend's keys have no axis
        assert len(panels) == 4
        assert [axes.get_title() for axes in panels[:2]] == ["loss of door scratch", "loss of door broken"]
        assert [axes.get_xlabel() for axes in panels[2:]] == ["image score (nats)"] * 2
        texts = texts_of(painter.figure)
        assert {"Epoch 7", "max", "mean"} <= set(texts)
        assert painter.legend == ["healthy  n = 2,000", "door scratch  n = 40", "door broken  n = 40"]

    def test_a_kept_painter_draws_what_a_new_one_draws(self):
        counts = fake_counts(2, num_epochs=3)
        painter = EpochHistogramPainter(EDGES, DEFECTS[:2], ["max"])
        for epoch in range(3):
            kept = painter.paint({"max": counts[epoch]}, epoch)
            fresh = epoch_histogram_image({"max": counts[epoch]}, EDGES, DEFECTS[:2], epoch)
            assert np.array_equal(kept, fresh)

    def test_axes_do_not_move_over_epochs(self):
        painter = EpochHistogramPainter(EDGES, DEFECTS[:1], ["max"])
        axes = painter.figure.axes[0]
        limits = axes.get_xlim(), axes.get_ylim()
        assert limits[0] == pytest.approx((-5, 2))
        painter.paint({"max": fake_counts(1)[0]}, 0)
        painter.paint({"max": fake_counts(1)[0] * 100}, 1)
        assert (axes.get_xlim(), axes.get_ylim()) == limits

    def test_groups_are_divided_by_their_own_total(self):
        painter = EpochHistogramPainter(EDGES, DEFECTS[:1], ["max"])
        counts = fake_counts(1)[0]
        first = painter.paint({"max": counts}, 0)
        more_healthy = counts.copy()
        more_healthy[:, 0] *= 10
        second = painter.paint({"max": more_healthy}, 0)
        legend_top = first.shape[0] - 20
        assert np.array_equal(first[:legend_top], second[:legend_top])
        assert painter.legend[0] == "healthy  n = 20,000"

    def test_empty_and_nan_groups_are_not_drawn(self):
        counts = fake_counts(2)[0].astype(float)
        counts[:, 1] = 0
        counts[:, 2] = np.nan
        painter = EpochHistogramPainter(EDGES, DEFECTS[:2], ["max"])
        full = painter.paint({"max": fake_counts(2)[0]}, 0)
        picture = painter.paint({"max": counts}, 1)
        assert painter.legend[1:] == ["door scratch  n = 0", "door broken  n = 0"]
        panels = slice(60, 200)
        orange = rgb_bytes(defect_colour(0))
        assert orange in colours_in(full[panels])
        assert orange not in colours_in(picture[panels])
        painter.paint({"max": np.zeros_like(counts)}, 2)

    def test_schemes_that_count_differently_show_a_range(self):
        counts = fake_counts(1)[0]
        painter = EpochHistogramPainter(EDGES, DEFECTS[:1], ["max", "mean"])
        painter.paint({"max": counts, "mean": counts // 2}, 0)
        assert " to 2,000" in painter.legend[0]

    def test_long_names_and_dollars_are_drawn(self):
        names = ["a very long name of a defect that nobody should ever have given $x^", "b$"]
        painter = EpochHistogramPainter(EDGES, names, ["mindefects_maxbackground"])
        painter.paint({"mindefects_maxbackground": fake_counts(2)[0]}, 0)
        assert all(len(text) < 50 for text in painter.legend)

    def test_rejections(self):
        painter = EpochHistogramPainter(EDGES, DEFECTS[:2], ["max"])
        with pytest.raises(ValueError, match="no counts of scheme 'max', given are \\['mean'\\]"):
            painter.paint({"mean": fake_counts(2)[0]}, 0)
        with pytest.raises(ValueError, match=r"shape \(1, 2, 60\), must be \(2, 3, 60\)"):
            painter.paint({"max": fake_counts(1)[0]}, 0)
        with pytest.raises(ValueError, match="edges must ascend"):
            EpochHistogramPainter(EDGES[::-1], DEFECTS[:1], ["max"])
        with pytest.raises(ValueError, match="needs defects"):
            EpochHistogramPainter(EDGES, [], ["max"])


class TestRidge:
    def test_columns_rows_and_legend(self):
        figure = ridge_figure(list(range(10)), fake_counts(2, 10), EDGES, DEFECTS[:2], "mean")
        assert len(figure.axes) == 2
        first = figure.axes[0]
        assert [label.get_text() for label in first.get_yticklabels()] == [str(e) for e in range(10)]
        positions = first.get_yticks()
        assert (np.diff(positions) < 0).all()  # the oldest on top
        assert first.get_ylabel() == "epoch"
        assert first.get_xlabel() == "image score (nats)"
        texts = texts_of(figure)
        assert {"healthy  n = 2,000", "door scratch  n = 40", "door broken  n = 40"} <= set(texts)
        assert any("mean" in text for text in texts)
        assert figure_to_array(figure).shape[1] == 1000

    def test_many_epochs_are_thinned_out(self):
        epochs = list(range(5, 305, 3))
        figure = ridge_figure(epochs, fake_counts(1, 100), EDGES, DEFECTS[:1], "max")
        shown = [int(label.get_text()) for label in figure.axes[0].get_yticklabels()]
        assert len(shown) == 24
        assert shown[0] == 5
        assert shown[-1] == 302
        assert set(np.diff(shown)) <= {12, 15}

    def test_single_epoch_with_an_empty_group(self):
        counts = fake_counts(2)
        counts[:, :, 2] = 0
        figure = ridge_figure([4], counts, EDGES, DEFECTS[:2], "max")
        assert figure_to_array(figure).ndim == 3
        assert "door broken  n = 0" in texts_of(figure)

    def test_nothing_counted_at_all(self):
        figure = ridge_figure([0, 1], np.zeros((2, 1, 2, 60)), EDGES, DEFECTS[:1], "max")
        assert figure_to_array(figure).std() > 0
        assert any("n = 0" in text for text in texts_of(figure))

    def test_median_dots(self):
        counts = np.zeros((1, 1, 2, 60), dtype=int)
        counts[0, 0, 0, 10] = 5
        counts[0, 0, 1, 50] = 3
        (axes,) = ridge_figure([0], counts, EDGES, DEFECTS[:1], "max").axes
        dots = [line.get_xdata()[0] for line in axes.lines if line.get_marker() == "o"]
        logs = np.log10(EDGES)
        assert dots == pytest.approx([(logs[10] + logs[11]) / 2, (logs[50] + logs[51]) / 2])

    def test_rejects_other_shapes(self):
        with pytest.raises(ValueError, match=r"must be \(3, 1, 2, 60\)"):
            ridge_figure([0, 1, 2], fake_counts(1, 2), EDGES, DEFECTS[:1], "max")
        with pytest.raises(ValueError, match="at least one epoch"):
            ridge_figure([], fake_counts(1, 0), EDGES, DEFECTS[:1], "max")


def fake_entry(height=60, width=80, num_defects=2, channels=1, clean=True, **changes) -> GalleryEntry:
    rng = np.random.default_rng(height * width)
    annotation = np.zeros((height, width, num_defects), np.uint8)
    annotation[20:30, 20:30] = 1
    prediction = np.clip(annotation * 0.8 + rng.random(annotation.shape) * 0.1, 0.001, 0.999)
    return replace(
        GalleryEntry(
            image=rng.integers(0, 256, (height, width, channels), dtype=np.uint8),
            annotation=annotation,
            prediction=prediction.astype(np.float32),
            loss_map=-np.log(1 - prediction),
            score=2.5,
            name=f"train/{height}x{width}.png",
            note="border error",
            clean=annotation if clean else None,
        ),
        **changes,
    )


class TestGallery:
    def test_one_axes_per_cell_and_a_colour_bar(self):
        figure = gallery_figure([fake_entry(), fake_entry(40, 200, channels=3, clean=False)], DEFECTS[:2])
        assert len(figure.axes) == 2 * len(COLUMNS) + 1
        assert figure.axes[-1].get_ylabel() == "pixel loss (nats)"
        texts = texts_of(figure)
        assert set(COLUMNS) <= set(texts)
        assert {"door scratch", "door broken", "true mask (dashed)"} <= set(texts)
        assert "1  train/60x80.png" in texts
        assert "border error  ·  score 2.5 nats" in texts
        picture = figure_to_array(figure)
        assert picture.dtype == np.uint8
        assert {rgb_bytes(defect_colour(1))} <= colours_in(picture)

    def test_twelve_rows_stay_readable(self):
        width, height = gallery_figure([fake_entry()] * 12, DEFECTS[:2]).get_size_inches() * 100
        assert width == pytest.approx(1184, abs=100)
        assert height / 12 > 200

    def test_missing_score_and_nan_losses(self):
        losses = np.full((60, 80, 2), np.nan)
        figure = gallery_figure([fake_entry(score=float("nan"), note="", loss_map=losses)], DEFECTS[:2])
        assert "no score" in texts_of(figure)
        figure_to_array(figure)

    def test_a_single_bad_pixel_survives_shrinking(self):
        losses = np.zeros((1000, 1600))
        losses[[3, 517, 999], [1599, 801, 0]] = 7.0
        small = fit_map(losses, (160, 100))
        assert small.shape == (100, 160)
        assert small.max() == 7.0
        assert cv2.connectedComponents((small > 0).astype(np.uint8))[0] - 1 == 3

    def test_growing_repeats_pixels(self):
        assert fit_map(np.array([[1.0, 2.0]]), (4, 2)).tolist() == [[1, 1, 2, 2], [1, 1, 2, 2]]

    def test_rejections(self):
        with pytest.raises(ValueError, match="at least one entry"):
            gallery_figure([], DEFECTS[:2])
        with pytest.raises(ValueError, match="2 maps for 1 defects"):
            gallery_figure([fake_entry()], DEFECTS[:1])
        with pytest.raises(ValueError, match=r"loss_map has shape \(60, 80\), must be \(60, 80, 2\)"):
            fake_entry(loss_map=np.zeros((60, 80)))


class TestOverlay:
    @pytest.mark.parametrize("shape", [(40, 50), (40, 50, 1), (40, 50, 3)])
    def test_changes_only_the_mask_and_its_outline(self, shape):
        image = np.full(shape, 100, np.uint8)
        masks = np.zeros((40, 50, 2), bool)
        masks[10:20, 10:20, 0] = True
        masks[30:, 40:, 1] = True
        picture = overlay(image, masks, alpha=0.5)
        assert picture.shape == (40, 50, 3)
        assert picture.dtype == np.uint8
        touched = cv2.dilate(masks.any(axis=2).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
        assert (picture[~touched] == 100).all()
        assert (picture[touched] != 100).any(axis=1).all()
        expected = (100 + np.array(rgb_bytes(defect_colour(0)))) / 2
        assert np.abs(picture[15, 15] - expected).max() <= 0.5
        assert tuple(picture[9, 15].tolist()) == rgb_bytes(defect_colour(0))
        assert (image == 100).all()  # the input stays

    def test_integer_masks_count_all_but_zero_and_void_is_grey(self):
        image = np.zeros((8, 8, 3), np.uint8)
        masks = np.zeros((8, 8, 1), np.uint8)
        masks[2:4, 2:4] = 1
        plain = overlay(image, masks.astype(bool))
        assert np.array_equal(overlay(image, masks), plain)
        masks[6:, 6:] = 255
        picture = overlay(image, masks)
        assert np.array_equal(picture[:6], plain[:6])
        assert len(set(picture[7, 7].tolist())) == 1
        assert picture[7, 7, 0] > 0

    def test_no_mask_changes_nothing(self):
        image = np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8)
        assert np.array_equal(overlay(image, np.zeros((9, 9, 2), bool)), image)

    def test_outline_grows_with_the_picture(self):
        assert outline_width(np.zeros((480, 511, 3))) == 1
        assert outline_width(np.zeros((1100, 300, 3))) == 3

    def test_rejections(self):
        image = np.zeros((8, 8, 3), np.uint8)
        with pytest.raises(ValueError, match=r"alpha=1.5, must lie in 0..1"):
            overlay(image, np.zeros((8, 8, 1), bool), alpha=1.5)
        with pytest.raises(ValueError, match=r"masks of shape \(8, 9, 1\)"):
            overlay(image, np.zeros((8, 9, 1), bool))
        with pytest.raises(ValueError, match="must be \\(H, W, C\\) uint8"):
            overlay(image.astype(float), np.zeros((8, 8, 1), bool))


def fake_run(
    label="baseline", num_epochs=12, step=1.0, seed=0, num_defects=2, values=None, **changes
) -> Curve:
    rng = np.random.default_rng(seed)
    cost = np.cumsum(step * rng.uniform(0.95, 1.05, num_epochs))
    seconds = 40 * step * np.arange(1, num_epochs + 1)
    known = {
        f"val/map/{defect}": 1 - np.exp(-cost / (3 + i)) for i, defect in enumerate(DEFECTS[:num_defects])
    }
    known |= {f"val/loss/{defect}": 0.1 * np.exp(-cost / 5) for defect in DEFECTS[:num_defects]}
    known["val/map"] = np.mean([known[f"val/map/{d}"] for d in DEFECTS[:num_defects]], axis=0)
    run = Curve(label, seed, np.arange(num_epochs), cost, seconds, known | (values or {}))
    return replace(run, **changes)


def lines_of(axes) -> list:
    """The curves of a panel, without the dots at their ends."""
    return [line for line in axes.lines if len(line.get_xdata()) > 1]


class TestComparison:
    def test_panels_labels_and_legend(self):
        runs = [fake_run(), fake_run("selective, beta 8", step=0.3)]
        figure = comparison_figure(runs, DEFECTS[:2])
        titles = [axes.get_title(loc="left") for axes in figure.axes]
        assert titles[:3] == ["mAP of door scratch", "mAP of door broken", "mAP, mean over defects"]
        assert titles[3].startswith("time per epoch")
        assert {axes.get_xlabel() for axes in figure.axes[:3]} == {"compute (baseline epochs)"}
        assert "s per epoch" in figure.axes[3].get_xlabel()
        texts = texts_of(figure)
        assert {"baseline", "selective, beta 8"} <= set(texts)
        assert "12 s  (3.3x)" in texts
        assert any("baseline against selective, beta 8" in text for text in texts)
        assert figure_to_array(figure).shape[1] == 1000

    def test_optional_panels_and_a_single_defect(self):
        one = comparison_figure([fake_run(num_defects=1)], DEFECTS[:1], title="One run")
        assert len(one.axes) == 2
        assert "One run" in texts_of(one)
        titles = [
            axes.get_title(loc="left")
            for axes in comparison_figure([fake_run()], DEFECTS[:2], losses=True).axes
        ]
        assert len(titles) == 6
        assert "validation loss of door broken (nats)" in titles

    def test_seeds_are_drawn_as_a_mean_with_a_band(self):
        runs = [fake_run(seed=0), fake_run(seed=1), fake_run("selective", step=0.3)]
        figure = comparison_figure(runs, DEFECTS[:2])
        panel = figure.axes[0]
        assert len(lines_of(panel)) == 2
        assert len(panel.collections) == 1  # one label has several seeds
        assert any("up to 2 seeds" in text for text in texts_of(figure))

    def test_a_band_interpolates_over_the_shared_costs(self):
        epochs, ones = np.arange(2), np.ones(2)
        first = Curve("selective", 0, epochs, np.array([1.0, 3.0]), ones, {"a": np.array([0.0, 0.4])})
        second = replace(first, cost=np.array([2.0, 4.0]), values={"a": np.array([0.6, 0.8])})
        found = band([first, second], "a", "compute")
        assert found is not None
        cost, mean, low, high = found
        assert cost.tolist() == [2, 3]
        assert low == pytest.approx([0.2, 0.4])
        assert high == pytest.approx([0.6, 0.7])
        assert mean == pytest.approx([0.4, 0.55])

    def test_epochs_without_validation_are_bridged(self):
        values = np.where(np.arange(12) % 4 == 3, 0.5, np.nan)
        run = fake_run(values={"a": values, "nothing": np.full(12, np.nan)})
        found = band([run], "a", "compute")
        assert found is not None
        assert found[0].tolist() == run.cost[3::4].tolist()
        assert band([run], "nothing", "compute") is None
        assert band([run], "never logged", "compute") is None

    def test_seconds_count_the_scoring_epochs_but_not_the_first(self):
        seconds = np.cumsum([99.0, 1, 1, 1, 5, 1, 1, 1, 5, 1, 1, np.nan])
        assert mean_epoch_s(fake_run(seconds=seconds)) == pytest.approx(1.8)
        assert mean_epoch_s(fake_run(num_epochs=1)) == 40
        assert np.isnan(mean_epoch_s(fake_run(seconds=np.full(12, np.nan))))

    def test_runs_that_share_no_costs(self):
        early, late = fake_run(num_epochs=3), fake_run(num_epochs=4)
        found = band([early, replace(late, cost=late.cost + 100)], "val/map", "compute")
        assert found is not None
        assert len(found[0]) == 4

    def test_nan_everywhere_and_a_single_epoch(self):
        nan = np.full(1, np.nan)
        empty = fake_run("broken", num_epochs=1, seconds=nan)
        empty = replace(empty, values=dict.fromkeys(empty.values, nan))
        figure = comparison_figure([empty], DEFECTS[:2])
        figure_to_array(figure)
        assert texts_of(figure).count("no data") == 3
        assert "not measured" in texts_of(figure)
        figure_to_array(comparison_figure([fake_run(num_epochs=1), empty], DEFECTS[:2]))

    def test_maps_begin_at_zero_on_an_axis_that_holds_them_all(self):
        low, high = (dict.fromkeys([f"val/map/{DEFECTS[0]}"], np.full(12, value)) for value in (0.3, 0.9))
        figure = comparison_figure([fake_run(values=low), fake_run("other", values=high)], DEFECTS[:2])
        assert {axes.get_ylim()[0] for axes in figure.axes[:3]} == {0.0}
        assert {axes.get_ylim()[1] > 0.9 for axes in figure.axes[:3]} == {True}

    def test_examples_add_a_strip(self):
        entry = fake_entry()
        runs = [fake_run(), fake_run("selective")]
        example = Example(entry.image, entry.annotation, {run.label: entry.prediction for run in runs})
        plain = comparison_figure(runs, DEFECTS[:2])
        figure = comparison_figure(runs, DEFECTS[:2], [example, example])
        assert len(figure.axes) == len(plain.axes) + 2 * (2 + 2)
        assert [text for text in texts_of(figure) if text in ("image", "annotation")] == [
            "image",
            "annotation",
        ]
        assert figure.get_size_inches()[1] > plain.get_size_inches()[1]
        figure_to_array(figure)

    def test_examples_say_what_they_are_and_how_they_came_out(self):
        runs = [fake_run(), fake_run("selective")]
        figure = comparison_figure(runs, DEFECTS[:2], judged_examples(runs), examples_notes=["one", "two"])
        texts = texts_of(figure)
        assert {"door scratch; hinge gap, not annotated", "test_07", "one", "two"} <= set(texts)
        assert "true mask (dashed)" in texts
        below = {axes.get_xlabel(): axes for axes in figure.axes if "false" in axes.get_xlabel()}
        assert set(below) == {"2 misses + false alarm", "hit + 2 false alarms"}
        baseline, selective = (below[text] for text in sorted(below))
        assert baseline.get_position().x0 < selective.get_position().x0
        assert overlaps(figure) == []

    def test_only_the_judged_regions_of_an_example_are_outlined(self):
        probabilities = np.full((20, 20, 1), 0.3)
        regions = np.zeros((20, 20, 1), bool)
        regions[5:9, 5:9] = True
        image, orange = np.zeros((20, 20, 1), np.uint8), np.array(rgb_bytes(defect_colour(0)))
        plain = prediction_picture(image, probabilities, (20, 20))
        judged = prediction_picture(image, probabilities, (20, 20), regions=regions)
        assert not (plain == orange).all(axis=2).any()
        line = np.zeros((20, 20), bool)
        line[3:11, 3:11] = True
        assert np.array_equal((judged == orange).all(axis=2), line & ~regions[..., 0])

    def test_rejections(self):
        with pytest.raises(ValueError, match="needs curves"):
            comparison_figure([], DEFECTS[:1])
        with pytest.raises(ValueError, match=r"selective: seconds has shape \(3,\), epoch \(12,\)"):
            fake_run("selective", seconds=np.ones(3))


def judged_examples(runs: list[Curve]) -> list[Example]:
    """Two images with names and verdicts, the second without a word about what it is."""
    entry = fake_entry()
    predictions = {run.label: entry.prediction for run in runs}
    regions = {label: prediction > 0.1 for label, prediction in predictions.items()}
    words = ["2 misses + false alarm", "hit + 2 false alarms", "hit + miss + 3 missing annotations"]
    first = Example(
        entry.image,
        entry.annotation,
        predictions,
        entry.clean,
        "door scratch; hinge gap, not annotated",
        "test_07",
        regions,
        dict(zip(predictions, words, strict=False)),
    )
    return [first, replace(first, about="", name="", verdicts=dict.fromkeys(predictions, words[2]))]


def overlaps(figure: Figure) -> list[tuple[str, str]]:
    """Pairs of texts that cover each other, and texts that reach out of the figure (with themselves)."""
    found, draw = [], Text.draw  # an axis also holds labels beyond its limits, which it does not draw

    def recorded(text, renderer):
        found.append(text)
        draw(text, renderer)

    figure_to_array(figure)  # settles the layout
    with patch.object(Text, "draw", recorded):
        figure_to_array(figure)
    boxes = [(t.get_text(), t.get_window_extent()) for t in found if t.get_text().strip() and t.get_visible()]
    assert len(boxes) > 5
    bad = [(name, name) for name, box in boxes if not within(box, figure.bbox)]
    for i, (name, box) in enumerate(boxes):
        others = boxes[i + 1 :]
        bad += [(name, other) for other, b in others if box.expanded(0.8, 0.8).overlaps(b.expanded(0.8, 0.8))]
    return bad


def within(box, outer) -> bool:
    return (
        box.x0 >= outer.x0 - 1
        and box.y0 >= outer.y0 - 1
        and box.x1 <= outer.x1 + 1
        and box.y1 <= outer.y1 + 1
    )


LONG = [
    "baseline",
    "selective scratch+broken, max, beta 8, stale_smart",
    "focus all, mindefects_maxbackground",
]


@pytest.mark.slow
@pytest.mark.parametrize(
    "draw",
    [
        lambda: comparison_figure([fake_run(name) for name in LONG], DEFECTS[:2], losses=True),
        lambda: comparison_figure(
            [fake_run(name) for name in LONG],
            DEFECTS[:2],
            [
                Example(
                    fake_entry().image, fake_entry().annotation, dict.fromkeys(LONG, fake_entry().prediction)
                )
            ],
        ),
        lambda: comparison_figure(
            runs := [fake_run(f"{name} {k}") for k in range(2) for name in LONG],
            DEFECTS[:2],
            judged_examples(runs),
            examples_notes=["a Note that is WIDER than the figure " * 7] * 3,
        ),
        lambda: gallery_figure([fake_entry(), fake_entry(40, 200, name="folder/" * 30)], DEFECTS[:2]),
        lambda: gallery_figure([fake_entry(note="a long note " * 9)], DEFECTS[:2]),
        lambda: ridge_figure(list(range(30)), fake_counts(6, 30), EDGES, DEFECTS, "mindefects_maxbackground"),
        lambda: ridge_figure([7], fake_counts(1, 1), EDGES, DEFECTS[:1], "max"),
        lambda: EpochHistogramPainter(EDGES, DEFECTS, ["max", "mindefects_maxbackground"]).figure,
        lambda: EpochHistogramPainter(EDGES, DEFECTS[:2], ["max"]).figure,
    ],
)
def test_no_text_covers_another_or_leaves_the_figure(draw):
    assert overlaps(draw()) == []


def test_drawing_leaves_matplotlibs_own_settings_alone():
    before = dict(matplotlib.rcParams)
    save_png(ridge_figure([0], fake_counts(1), EDGES, DEFECTS[:1], "max"), Path(os.devnull))
    assert dict(matplotlib.rcParams) == before


def test_the_report_never_imports_pyplot():
    code = (
        "import sys, pkgutil\n"
        "import sbp.plots.style, sbp.plots.histogram_figure, sbp.plots.gallery, sbp.plots.comparison\n"
        "import numpy as np\n"
        "painter = sbp.plots.histogram_figure.EpochHistogramPainter(np.logspace(-2, 1, 5), ['a'], ['max'])\n"
        "painter.paint({'max': np.ones((1, 2, 4))}, 0)\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
        "assert 'torch' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
