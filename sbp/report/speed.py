"""Speed as the field reports it: compute and seconds until an arm is where another one ends.

A run that never gets there is censored at the end of its budget. All runs of a table have the same budget,
so that the median over seeds, such runs counted as infinitely late, is that of Kaplan and Meier (1958).
"""

import math
from collections.abc import Mapping
from statistics import median

from sbp.report.claims import Part, Runs, part_values
from sbp.report.measures import Measure, arm_key
from sbp.report.page import Cell, Estimate, Table
from sbp.report.section_file import Target
from sbp.report.sections import Section

CAPTION = (
    "Until the validation metric is where that arm's run of the same seed ends (its mean in brackets): "
    "baseline epochs, seconds, how many times sooner than that arm itself; medians over seeds, a run that "
    "never gets there counted as infinitely late. Test mAP at the end: mean and range. Seconds: one run on "
    "each core."
)


def speed_tables(
    section: Section, runs: Runs, labels: Mapping[str, str], roles: Mapping[str, str]
) -> list[Table]:
    """A table for each budget of which there are runs, of a section whose file names targets. runs: by
    `arm_key`; labels: likewise; roles: the defects' names for {common} and {rare}."""
    targets = section.file.targets if section.file else []
    trained = [b for b in section.budgets if any(runs.get(arm_key(arm, b)) for arm in section.arms)]
    return [_table(section, budget, targets, runs, labels, roles) for budget in trained if targets]


def _table(section: Section, budget: str, targets: list[Target], runs: Runs, labels, roles) -> Table:
    defects = list(roles.values())
    columns = [f"{budget} budget", "seeds", *(f"test {defect}" for defect in defects)]
    columns += [_title(target, budget, runs, labels, roles) for target in targets]
    seeds = {seed for arm in section.arms for seed in runs.get(arm_key(arm, budget), {})}
    rows: list[list[Cell]] = []
    for arm in section.arms:
        key = arm_key(arm, budget)
        finals = [
            Estimate.of(_values(Measure(arm, f"test/map/{d}", budget=budget), runs).values()) for d in defects
        ]
        times = [_time(arm, target, budget, runs, roles) for target in targets]
        rows.append([labels[key], f"{len(runs.get(key, {}))} of {len(seeds)}", *finals, *times])
    return Table(columns, rows, CAPTION)


def _title(target: Target, budget: str, runs: Runs, labels, roles) -> str:
    metric = target.metric.format(**roles)
    heights = _values(Measure(target.until, metric, budget=budget), runs).values()
    defect = metric.rpartition("/")[2]
    label = labels.get(arm_key(target.until, budget), target.until)
    height = f" ({Estimate.of(heights).mean:.2f})" if heights else ""
    return f"until the {label}'s {defect}{height}"


def _time(arm: str, target: Target, budget: str, runs: Runs, roles) -> str:
    """ "2.1 epochs, 24 s, 3.8x": of the seeds that have both runs and something to reach."""

    def until(name: str, over: str) -> dict[int, float]:
        metric = target.metric.format(**roles)
        return _values(Measure(name, metric, "reach_final", over, until=target.until, budget=budget), runs)

    compute, seconds, own = until(arm, "compute"), until(arm, "seconds"), until(target.until, "compute")
    if not compute:
        return "–"
    reached = sum(map(math.isfinite, compute.values()))
    some = "" if reached == len(compute) else f" ({reached} of {len(compute)} seeds)"
    if math.isinf(median(compute.values())):
        return f"not reached{some}"
    sooner = median(own[seed] / value for seed, value in compute.items())
    epochs = f"{median(compute.values()):.2g} epochs, {median(seconds.values()):.0f} s"
    return f"{epochs}, {sooner:.1f}x{some}"


def _values(measure: Measure, runs: Runs) -> dict[int, float]:
    """The measure by seed, without seeds of which it says nothing."""
    found = part_values(Part(left=measure, region=[0.0, None]), runs)
    return {seed: value for seed, value in found.items() if not math.isnan(value)}
