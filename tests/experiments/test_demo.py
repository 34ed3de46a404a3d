"""The demo's examples: which images are chosen, what is said of them, and that the picture says it."""

import numpy as np
import pytest
from matplotlib.text import Text

from experiments.demo.examples import chosen_images, example_of, rules, what_it_shows
from experiments.demo.run import comparison
from sbp.config.groups import EvaluationConfig
from sbp.data.dataset import Split
from sbp.data.source import VOID
from sbp.tracking.runs import read_runs
from sbp.tracking.store import open_store

DEFECTS = ("scratch", "broken")
SIZE = 16
SCRATCH, OTHER_SCRATCH = (slice(0, 4), slice(0, 4), 0), (slice(10, 14), slice(0, 4), 0)
BROKEN = (slice(0, 4), slice(10, 14), 1)
EVALUATION = EvaluationConfig(batch_size=1, threshold=0.1, min_area=4, iou_thresholds=[0.5, 0.1])

IMAGES = {  # by name: what is annotated, what is there, what else it shows
    "healthy": ([], [], ""),
    "unmarked twin": ([SCRATCH], [SCRATCH, OTHER_SCRATCH], ""),
    "both": ([SCRATCH, BROKEN], [SCRATCH, BROKEN], ""),
    "unmarked and fibre": ([], [BROKEN], "fibre"),
    "scratch": ([SCRATCH], [SCRATCH], ""),
    "scratch again": ([SCRATCH], [SCRATCH], ""),
    "stain": ([], [], "stain"),
    "fibre": ([], [], "fibre"),
    "broken": ([BROKEN], [BROKEN], ""),
    "unmarked": ([], [SCRATCH], ""),
}


def split_of(*names: str, clean: bool = True) -> Split:
    """The named images, in this order; clean: whether the true masks are known."""
    masks, truth = np.zeros((2, len(names), SIZE, SIZE, len(DEFECTS)), np.uint8)
    for n, name in enumerate(names):
        for drawn, places in zip((masks[n], truth[n]), IMAGES[name], strict=False):
            for place in places:
                drawn[place] = 1
    images = np.zeros((len(names), SIZE, SIZE, 1), np.uint8)
    kinds = [IMAGES[name][2] for name in names]
    return Split(images, masks, truth if clean else None, masks.any(axis=(1, 2)), list(names), kinds)


def chosen_names(split: Split) -> list[str]:
    return [split.names[index] for index in chosen_images(split)]


class TestChoice:
    def test_the_first_of_each_kind_by_number(self):
        everything = split_of(*IMAGES)
        assert chosen_names(everything) == ["scratch", "broken", "stain", "unmarked and fibre"]
        backwards = split_of(*reversed(IMAGES))
        assert chosen_names(backwards) == ["scratch again", "broken", "fibre", "unmarked"]

    def test_without_clean_masks_nothing_is_known_to_be_unmarked(self):
        blind = split_of(*IMAGES, clean=False)
        assert chosen_names(blind) == ["unmarked twin", "broken", "unmarked and fibre"]

    def test_others_stand_in_where_no_image_has_a_defect_alone(self):
        assert chosen_names(split_of("healthy", "both", "unmarked twin")) == ["both", "unmarked twin"]

    def test_a_split_of_healthy_images_has_none(self):
        assert chosen_images(split_of("healthy", "healthy")) == []

    def test_the_rules_are_told_as_far_as_they_apply(self):
        text = " ".join(rules(split_of(*IMAGES), EVALUATION))
        assert "the first test image with each defect alone" in text
        assert "the first look-alike" in text
        assert "a defect and no annotation" in text
        assert "IoU ≥ 0.1" in text
        assert "above 0.1, 4 pixels or more" in text
        blind = " ".join(rules(split_of("scratch", "broken", clean=False), EVALUATION))
        assert "look-alike" not in blind
        assert "annotation:" not in blind


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("healthy", "healthy"),
        ("scratch", "scratch"),
        ("both", "scratch and broken"),
        ("fibre", "healthy look-alike (fibre)"),
        ("unmarked", "scratch, not annotated"),
        ("unmarked twin", "scratch; another scratch, not annotated"),
        ("unmarked and fibre", "broken, not annotated"),
    ],
)
def test_what_an_image_shows_in_words(name, words):
    assert what_it_shows(split_of(name), 0, DEFECTS) == words


def example(name: str, drawn: list, value: float = 0.9, void: tuple | None = None, clean: bool = True):
    """The named image as the second of its split, where a run predicts `value` at the places drawn."""
    split = split_of("healthy", name, clean=clean)
    if void:
        split.masks[(1, *void)] = VOID
    probabilities = np.full((2, len(DEFECTS), SIZE, SIZE), 0.01, np.float32)
    for y, x, defect in drawn:
        probabilities[1, defect, y, x] = value
    return example_of(
        split, 1, {"run": probabilities, "idle": np.zeros_like(probabilities)}, DEFECTS, EVALUATION
    )


class TestVerdicts:
    @pytest.mark.parametrize(
        ("name", "drawn", "verdict", "idle"),
        [
            ("scratch", [SCRATCH], "hit", "miss"),
            ("scratch", [(*SCRATCH[:2], 1)], "miss + false alarm", "miss"),
            ("both", [SCRATCH, BROKEN, OTHER_SCRATCH], "2 hits + false alarm", "2 misses"),
            ("fibre", [SCRATCH], "false alarm", "no alarm"),
            ("unmarked", [SCRATCH], "missing annotation", "no alarm"),
            ("unmarked twin", [SCRATCH, OTHER_SCRATCH], "hit + missing annotation", "miss"),
        ],
    )
    def test_of_each_run(self, name, drawn, verdict, idle):
        assert example(name, drawn).verdicts == {"run": verdict, "idle": idle}

    def test_as_the_evaluation_counts(self):
        assert example("fibre", [SCRATCH], value=0.11).verdicts["run"] == "false alarm"
        assert example("fibre", [SCRATCH], value=0.1).verdicts["run"] == "no alarm"
        speck = (slice(0, 1), slice(0, 3), 0)
        assert example("fibre", [speck]).verdicts["run"] == "no alarm"
        assert not example("fibre", [speck]).regions["run"].any()
        small = (slice(0, 2), slice(0, 2), 0)  # IoU 0.25: the lowest threshold is not the first
        assert example("scratch", [small]).verdicts["run"] == "hit"

    def test_without_clean_masks_what_is_unmarked_is_a_false_alarm(self):
        shown = example("unmarked", [SCRATCH], clean=False)
        assert shown.verdicts["run"] == "false alarm"
        assert shown.clean is None

    def test_nobody_knows_of_pixels_that_do_not_count(self):
        assert example("healthy", [SCRATCH], void=SCRATCH).verdicts["run"] == "no alarm"

    def test_an_example_holds_its_image_and_the_judged_regions(self):
        shown = example("both", [SCRATCH])
        assert (shown.name, shown.about) == ("both", "scratch and broken")
        expected = np.zeros((SIZE, SIZE, len(DEFECTS)), bool)
        expected[SCRATCH] = True
        assert np.array_equal(shown.regions["run"], expected)
        assert shown.predictions["run"][0, 0].tolist() == pytest.approx([0.9, 0.01])
        assert np.array_equal(shown.clean, shown.annotation)


def test_the_picture_of_real_runs_says_what_each_row_is_and_how_it_came_out(sweep):
    runs = [run for run in read_runs(open_store(None, str(sweep)), "sbp") if run.params["beta"] == "8"]
    figure = comparison(runs)
    texts = [artist.get_text() for artist in figure.findobj(Text)]
    assert {"scratch", "broken"} <= set(texts)
    assert any(text.startswith("healthy look-alike (") for text in texts)
    assert any(text.startswith("Chosen by number, not by outcome") for text in texts)
    verdicts = [text.replace("\n", " ") for axes in figure.axes if (text := axes.get_xlabel())]
    judged = [text for text in verdicts if any(word in text for word in ("hit", "miss", "alarm"))]
    assert len(judged) >= 3 * len(runs) > 3
