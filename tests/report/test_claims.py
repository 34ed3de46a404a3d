"""How a claim is judged: from curves to numbers, from numbers over seeds to a verdict."""

import math
from dataclasses import dataclass, field

import numpy as np
import pytest
from scipy import stats

from sbp.report.claims import Claim, Part, judge, judge_part, measured_text, rule_text
from sbp.report.measures import Measure, measure_pair, measure_run
from sbp.report.seeds import MANY_SEEDS, mean_interval, seeds_needed

NAMES = {"common": "scratch", "rare": "broken"}


@dataclass
class Run:
    """A run of three epochs of one baseline epoch and ten seconds each, with one metric."""

    y: tuple[float, ...] = (0.2, 0.4, 0.4)
    key: str = "val/map"
    cost: tuple[float, ...] = (1.0, 2.0, 3.0)
    tags: dict[str, str] = field(default_factory=dict)

    def series(self, key):
        epochs = np.arange(len(self.y))
        known = {
            self.key: self.y,
            "cost/baseline_epochs": self.cost,
            "time/work_s": tuple(10 * c for c in self.cost),
        }
        return (epochs, np.array(known[key])) if key in known else (np.empty(0), np.empty(0))


def measure(statistic="final", **keys) -> Measure:
    return Measure("arm", **{"metric": "val/map", "statistic": statistic, **keys})


# val/map is 0 before training, so its curve is (0, 0) (1, .2) (2, .4) (3, .4)
@pytest.mark.parametrize(
    ("wanted", "value"),
    [
        (measure("final"), 0.4),
        (measure("first"), 0.2),
        (measure("best"), 0.4),
        (measure("area"), (0.1 + 0.3 + 0.4) / 3),
        (measure("at", at=0.5), 0.3),
        (measure("at", at=0.25), 0.15),
        (measure("reach", level=0.5), 1.0),
        (measure("reach", level=0.75), 1.5),
        (measure("reach_level", level=0.3), 1.5),
        (measure("reach_level", level=0.3, over="seconds"), 15.0),
        (measure("reach_level", level=0.5), math.inf),
        (measure("change_since", at=0.5), 0.1),
        (measure("late_gain", at=0.5), 0.25),
        (measure("mean"), 0.4),
        (measure("final_over_min"), 2.0),
        (measure("log_change"), math.log10(2)),
        (measure("log_final"), math.log10(0.4)),
        (measure("per_epoch", metric="time/work_s"), 10.0),
    ],
)
def test_statistics_by_hand(wanted, value):
    assert measure_run(Run(), wanted) == pytest.approx(value)


def test_a_metric_that_starts_above_zero_is_not_given_a_zero():
    run = Run(key="train/loss", y=(3.0, 2.0, 1.0))
    assert measure_run(run, measure("area", metric="train/loss")) == pytest.approx(2.0)


def test_a_metric_that_was_never_logged_is_unknown_not_zero():
    assert math.isnan(measure_run(Run(), measure(metric="val/map/scratch")))


def test_runs_of_different_length_are_compared_over_the_compute_both_have():
    long = Run(y=(0.2, 0.4, 0.4, 1.0), cost=(1, 2, 3, 4))
    a, b = measure_pair(long, Run(), measure("area"), measure("area"))
    assert a == pytest.approx(b)


def test_epochs_without_validation_do_not_count():
    run = Run(y=(0.2, math.nan, 0.4))
    assert measure_run(run, measure("at", at=2 / 3)) == pytest.approx(0.3)


def test_what_an_epoch_costs_does_not_depend_on_which_epochs_were_kept():
    class Thinned(Run):
        def series(self, key):
            steps, values = super().series(key)
            return steps[[0, 2]], values[[0, 2]]

    wanted = measure("per_epoch", metric="time/work_s")
    assert measure_run(Thinned(), wanted) == measure_run(Run(), wanted)


class Selective(Run):
    """Everything in the first epoch, a quarter of the images from then on."""

    def series(self, key):
        steps = np.arange(3)
        return (steps, np.array([1.0, 0.25, 0.25])) if key == "train/kept_fraction" else super().series(key)


def test_backprops_count_the_images_trained_on_since_the_beginning():
    """0.4 is reached with the second epoch, whose images are a quarter of those of the first."""
    wanted = measure("reach", level=1.0, over="backprops")
    assert str(wanted) == "backprops until val/map reaches 100% of its final value"
    assert measure_run(Selective(), wanted) == 1.25
    assert np.isnan(measure_run(Run(), wanted))  # nothing says how many they were


@pytest.mark.parametrize("seeds", [2, 3, 5, 10, 31, 60])
def test_the_interval_is_students(seeds):
    values = np.random.default_rng(seeds).normal(3, 2, seeds)
    mean, interval = mean_interval(values)
    expected = stats.t.interval(0.95, seeds - 1, values.mean(), stats.sem(values))
    assert mean == pytest.approx(values.mean())
    assert interval == pytest.approx(expected)


def test_ratios_are_averaged_by_their_logarithms():
    mean, (low, high) = mean_interval([0.5, 2.0], logarithmic=True)
    assert mean == pytest.approx(1.0)
    assert low * high == pytest.approx(1.0)


@pytest.mark.parametrize(("effect", "seeds"), [(2.0, 5), (1.0, 10), (0.8, 15), (0.5, 34), (0.3, 90)])
def test_seeds_needed_are_those_of_a_paired_t_test_of_power_80_percent(effect, seeds):
    """Sample sizes as G*Power 3.1 gives them (paired t test, two-sided 5 %), to one seed."""
    assert abs(seeds_needed(effect, 1.0) - seeds) <= 1


def test_on_the_edge_no_number_of_seeds_decides():
    assert seeds_needed(0.0, 0.1) > MANY_SEEDS


def part(low, high, **keys) -> Part:
    return Part(**{"left": measure(), "right": None, "region": [low, high], **keys})


def runs_of(*finals: float, **tags: str) -> dict[int, Run]:
    """One run per seed, by its final mAP; NaN: it was never logged."""
    return {
        seed: Run(y=(0.0, 0.0, final), tags=dict(tags), key="other" if math.isnan(final) else "val/map")
        for seed, final in enumerate(finals)
    }


@pytest.mark.parametrize(
    ("low", "high", "finals", "verdict"),
    [
        (0.2, None, (0.30, 0.31, 0.32), "reproduced"),
        (0.4, None, (0.30, 0.31, 0.32), "not reproduced"),
        (0.31, None, (0.30, 0.31, 0.32), "undecided"),
        (None, 0.4, (0.30, 0.31, 0.32), "reproduced"),
        (0.2, 0.4, (0.30, 0.31, 0.32), "reproduced"),
        (0.2, None, (0.30,), "undecided"),  # one seed decides nothing, however far away
        (0.2, None, (), "missing"),
        (0.2, None, (math.nan, math.nan), "missing"),
        (0.2, None, (0.3, 0.3, math.nan), "reproduced"),  # of the seeds that have it
    ],
)
def test_the_verdict_is_where_the_interval_lies(low, high, finals, verdict):
    assert judge_part(part(low, high), {"arm": runs_of(*finals)}, NAMES).verdict == verdict


def test_a_level_that_some_seeds_never_reach_is_judged_seed_by_seed():
    rule = part(0.0, 2.0, left=measure("reach_level", level=0.3))
    never, soon = Run(y=(0, 0, 0)), Run()
    for runs, verdict in (([soon] * 3, "reproduced"), ([never] * 3, "not reproduced")):
        assert judge_part(rule, {"arm": dict(enumerate(runs))}, NAMES).verdict == verdict
    assert judge_part(rule, {"arm": {0: soon, 1: never}}, NAMES).verdict == "undecided"


def reaching(arm: str, until: str = "slow", **keys) -> Measure:
    return Measure(arm, "val/map", "reach_final", until=until, **keys)


SLOW = Run(y=(0.0, 0.1, 0.3))
FAST = Run(y=(0.3, 0.4, 0.5))
NEVER = Run(y=(0.0, 0.1, 0.1))


def test_speed_is_what_it_takes_to_be_where_another_arm_of_the_same_seed_ends():
    """The slow run ends at 0.3, after 3 baseline epochs; the fast one is there after 1."""
    rule = part(None, 0.5, left=reaching("fast"), right=reaching("slow"), compare="ratio")
    runs = {"slow": {0: SLOW, 1: Run(y=(0.0, 0.1, 0.2))}, "fast": {0: FAST, 1: FAST}}
    result = judge_part(rule, runs, NAMES)
    assert result.values == {0: pytest.approx(1 / 3), 1: pytest.approx((2 / 3) / 3)}
    assert rule_text(rule) == (
        "compute until val/map reaches the final value of slow of fast, divided by that of slow: at most 0.5"
    )


def test_a_run_that_never_gets_there_is_slower_than_any_that_does():
    rule = part(None, 1.0, left=reaching("fast"), right=reaching("slow"), compare="ratio")
    slow = dict.fromkeys(range(3), SLOW)
    some = judge_part(rule, {"slow": slow, "fast": {0: FAST, 1: FAST, 2: NEVER}}, NAMES)
    assert (some.verdict, measured_text(some)) == (
        "undecided",
        "0.333 in the median, not reached in 1 of 3 seeds",
    )
    none = judge_part(rule, {"slow": slow, "fast": dict.fromkeys(range(3), NEVER)}, NAMES)
    assert (none.verdict, measured_text(none)) == ("not reproduced", "not reached in 3 of 3 seeds")


def test_where_the_other_arm_has_learned_nothing_there_is_nothing_to_reach():
    rule = part(None, 1.0, left=reaching("fast"), right=reaching("slow"), compare="ratio")
    flat = Run(y=(0.0, 0.0, 0.01))
    result = judge_part(rule, {"slow": {0: flat, 1: flat}, "fast": {0: FAST, 1: FAST}}, NAMES)
    assert (result.verdict, measured_text(result)) == ("undecided", "too little to reach")


def test_the_arm_that_sets_the_height_is_named_if_it_is_missing():
    result = judge_part(part(None, 1.0, left=reaching("fast")), {"fast": {0: FAST}}, NAMES)
    assert (result.verdict, result.missing) == ("missing", ("slow",))


def test_budgets_are_compared_among_themselves():
    rule = part(None, 1.0, left=reaching("fast", budget="long"))
    runs = {"slow": {0: NEVER}, "fast": {0: NEVER}, "slow@long": {0: SLOW}, "fast@long": {0: FAST}}
    assert judge_part(rule, runs, NAMES).values == {0: pytest.approx(1.0)}
    assert "of fast@long" in rule_text(rule)


def test_a_difference_that_nobody_would_care_about_is_equivalent():
    rule = part(0.0, None, right=Measure("other", "val/map"), margin=0.05)
    other = runs_of(0.3, 0.3, 0.3)

    def verdict(*finals: float) -> str:
        return judge_part(rule, {"arm": runs_of(*finals), "other": other}, NAMES).verdict

    assert verdict(0.30, 0.31, 0.29) == "equivalent"
    assert verdict(0.32, 0.33, 0.34) == "reproduced"  # small, but beyond doubt
    assert verdict(0.27, 0.26, 0.28) == "not reproduced"
    assert verdict(0.30, 0.40, 0.20) == "undecided"
    assert "(equivalent within 0.05)" in rule_text(rule)


@pytest.mark.parametrize("keys", [{"margin": 0.0}, {"high": 1.0}, {"compare": "ratio"}])
def test_a_margin_is_for_differences_with_one_edge(keys):
    wanted = {"low": 0.0, "high": None, "right": Measure("other", "val/map"), "margin": 0.1} | keys
    with pytest.raises(ValueError, match="margin"):
        part(**wanted)


def test_an_undecided_rule_says_how_many_seeds_would_decide():
    finals = (0.2, 0.3, 0.4)  # 0.1 above the edge with a deviation of 0.1: an effect of 1
    result = judge_part(part(0.2, None), {"arm": runs_of(*finals)}, NAMES)
    assert (result.verdict, result.seeds_needed) == ("undecided", 10)
    assert measured_text(result).endswith("3 seeds; about 10 would decide")
    on_the_edge = judge_part(part(0.3, None), {"arm": runs_of(*finals)}, NAMES)
    assert measured_text(on_the_edge).endswith(f"more than {MANY_SEEDS} would be needed")
    decided = judge_part(part(0.0, None), {"arm": runs_of(0.2, 0.21)}, NAMES)
    assert decided.seeds_needed is None


def test_seeds_are_paired():
    """The spread over seeds, which both arms share, does not blur their difference."""
    right = Measure("other", "val/map")
    rule = part(0.05, None, right=right, compare="difference")
    runs = {"arm": runs_of(0.1, 0.5, 0.9), "other": runs_of(0.0, 0.4, 0.8)}
    result = judge_part(rule, runs, NAMES)
    assert list(result.values.values()) == pytest.approx([0.1, 0.1, 0.1])
    assert result.verdict == "reproduced"


def test_a_seed_that_one_side_lacks_is_left_out():
    rule = part(0.0, None, right=Measure("other", "val/map"), compare="ratio")
    runs = {"arm": runs_of(0.2, 0.4, 0.8), "other": {1: Run(y=(0, 0, 0.2))}}
    assert judge_part(rule, runs, NAMES).values == {1: pytest.approx(2.0)}


@pytest.mark.parametrize(
    ("above", "below", "verdict", "text"),
    [
        (0.0, 0.0, "undecided", "0 divided by 0"),
        (0.2, 0.0, "not reproduced", "infinite in 2 of 2 seeds"),
        (0.0, 0.2, "reproduced", "0 [0, 0], 2 seeds"),
    ],
)
def test_a_ratio_to_nothing_says_nothing(above, below, verdict, text):
    rule = part(None, 0.5, right=Measure("other", "val/map"), compare="ratio")
    result = judge_part(rule, {"arm": runs_of(above, above), "other": runs_of(below, below)}, NAMES)
    assert (result.verdict, measured_text(result)) == (verdict, text)


def test_wall_clock_claims_take_runs_that_had_the_machine_to_themselves():
    rule = part(0.0, None, left=measure("per_epoch", metric="time/work_s", exclusive=True))
    result = judge_part(rule, {"arm": runs_of(0.1, 0.2)}, NAMES)
    assert (result.verdict, result.missing) == ("missing", ("arm",))
    for name in ("exclusive", "alone"):  # the tag's name in runs of earlier versions
        assert judge_part(rule, {"arm": runs_of(0.1, 0.2, **{name: "true"})}, NAMES).verdict == "reproduced"
    both = runs_of(0.1, 0.2, exclusive="false", alone="true")
    assert judge_part(rule, {"arm": both}, NAMES).verdict == "missing"


def test_roles_become_the_data_sets_defects():
    rule = part(0.0, None, left=measure(metric="val/map/{rare}"))
    runs = {"arm": {seed: Run(key="val/map/broken") for seed in (0, 1)}}
    result = judge_part(rule, runs, NAMES)
    assert result.values == {0: pytest.approx(0.4), 1: pytest.approx(0.4)}
    assert rule_text(result.part) == "final val/map/broken of arm: at least 0"


@pytest.mark.parametrize(
    ("lows", "verdict"),
    [
        ((0.1, 0.2), "reproduced"),
        ((0.1, 0.9), "not reproduced"),
        ((0.1, 0.31), "undecided"),
        ((0.9, 0.31), "not reproduced"),
        ((), "missing"),
    ],
)
def test_a_claim_needs_all_of_its_parts(lows, verdict):
    claim = Claim("C1", "blog", "text", tuple(part(low, None) for low in lows))
    assert judge(claim, {"arm": runs_of(0.30, 0.31, 0.32)}, NAMES).verdict == verdict


def test_a_claim_with_a_part_that_was_not_measured_is_missing_unless_another_refutes_it():
    gone = part(0.0, None, left=Measure("nowhere", "val/map"))
    runs = {"arm": runs_of(0.30, 0.31, 0.32)}
    assert judge(Claim("C1", "blog", "", (part(0.1, None), gone)), runs, NAMES).verdict == "missing"
    assert judge(Claim("C1", "blog", "", (part(0.9, None), gone)), runs, NAMES).verdict == "not reproduced"


def test_what_a_reader_sees_of_a_rule_and_its_measurement():
    left, right = measure("reach", level=0.5, metric="val/map/scratch"), Measure("other", "val/map/scratch")
    rule = part(None, 0.8, left=left, right=right, compare="ratio")
    assert rule_text(rule) == (
        "compute until val/map/scratch reaches 50% of its final value of arm, "
        "divided by final val/map/scratch of other: at most 0.8"
    )
    same = part(0.1, 0.2, right=Measure("other", "val/map"), compare="difference")
    assert rule_text(same) == "final val/map of arm, minus that of other: between 0.1 and 0.2"
    result = judge_part(part(0.0, None), {"arm": runs_of(0.30, 0.31, 0.32)}, NAMES)
    assert measured_text(result) == "0.31 [0.285, 0.335], 3 seeds"
    missing = judge_part(same, {"arm": runs_of(0.1)}, NAMES)
    assert measured_text(missing) == "not measured: no run of other"


@dataclass
class Counted:
    """A run of three epochs, with metrics that are logged after some of them."""

    logged: dict[str, dict[int, float]]
    tags: dict[str, str] = field(default_factory=dict)

    def series(self, key):
        cost = {"cost/baseline_epochs": {0: 1.0, 1: 2.0, 2: 3.0}}
        values = (cost | self.logged).get(key, {})
        return np.array([*values]), np.array([*values.values()])


def counted(false_regions: dict[int, float], images: float = 6.0) -> Counted:
    return Counted(
        {
            "test/lookalike_false_regions/r50": false_regions,
            "test/max_recall": {0: 0.4, 1: 0.6, 2: 0.4},
            "test/images/lookalike": dict.fromkeys(range(3), images),
        }
    )


ALARMS = Measure("arm", "test/lookalike_false_regions/r50")


@pytest.mark.parametrize(
    ("run", "value"),
    [
        (counted({2: 1.5}), 1.5),
        (counted({}), math.inf),  # never reached
        (counted({1: 0.5}), math.inf),  # reached once, but not at the end
        (counted({}, images=0.0), math.nan),  # nothing to count on
        (Counted({"test/map": {2: 0.3}}), math.nan),  # of before there was such a metric
    ],
)
def test_false_regions_at_a_recall_that_is_not_reached_are_infinite(run, value):
    assert measure_run(run, ALARMS) == pytest.approx(value, nan_ok=True)


def test_a_seed_that_never_reaches_the_recall_speaks_against_its_arm():
    """By that alone three seeds with a third of the false regions would be reproduced."""
    part = Part(ALARMS, [None, 0.8], Measure("other", ALARMS.metric), "ratio")
    runs = {
        "arm": {0: counted({2: 0.3}), 1: counted({2: 0.31}), 2: counted({})},
        "other": {seed: counted({2: 1.0}) for seed in range(3)},
    }
    result = judge_part(part, runs, NAMES)
    assert (result.verdict, measured_text(result)) == (
        "undecided",
        "0.31 in the median, infinite in 1 of 3 seeds",
    )
    del runs["arm"][2]
    assert judge_part(part, runs, NAMES).verdict == "reproduced"


def test_a_seed_whose_control_never_reaches_the_recall_is_said_and_not_averaged():
    """Of 0, 0.3 and 2 an interval would say nothing; each seed counts, and the text names the control."""
    part = Part(ALARMS, [None, 0.8], Measure("other", ALARMS.metric), "ratio")
    runs = {
        "arm": {0: counted({2: 0.3}), 1: counted({2: 0.3})},
        "other": {0: counted({2: 1.0}), 1: counted({})},
    }
    result = judge_part(part, runs, NAMES)
    assert result.verdict == "reproduced"
    assert measured_text(result) == "0.15 in the median, infinite for other in 1 of 2 seeds"
    runs["arm"][0] = counted({2: 2.0})
    result = judge_part(part, runs, NAMES)
    assert (result.verdict, result.seeds_needed) == ("undecided", None)


def test_a_recall_that_neither_reaches_decides_nothing_and_is_said():
    part = Part(ALARMS, [None, 0.8], Measure("other", ALARMS.metric), "ratio")
    runs = {name: {seed: counted({}) for seed in range(2)} for name in ("arm", "other")}
    result = judge_part(part, runs, NAMES)
    assert (result.verdict, measured_text(result)) == ("undecided", "infinite for both")


def test_a_height_may_leave_a_multiple_of_the_error_that_the_other_arm_ends_with():
    left = Measure("fast", "val/accuracy", "reach_final", until="slow", slack=1.2)
    assert left.towards(0.9).level == pytest.approx(0.88)
    assert left.target == Measure("slow", "val/accuracy")
    assert str(left) == "compute until val/accuracy is 1.2 times as far from 1 as the final value of slow"
    with pytest.raises(ValueError, match=r"slack=1\.2: must be 1 but for statistic reach_final"):
        Measure("fast", "val/accuracy", slack=1.2)
    with pytest.raises(ValueError, match=r"slack=0\.5: must be at least 1"):
        Measure("fast", "val/accuracy", "reach_final", until="slow", slack=0.5)
