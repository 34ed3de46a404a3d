"""The table of false alarms: false regions at a fixed recall, and which defects are overlooked."""

import math
from collections.abc import Mapping, Sequence

from sbp.metrics import names
from sbp.report.measures import never_reached
from sbp.report.page import Cell, Estimate, Table, seeds_text
from sbp.tracking.runs import RecordedRun

Arms = Mapping[str, Mapping[int, RecordedRun]]
SPLIT = "test"
ALARMS = {names.FALSE_REGIONS: "per healthy image", names.LOOKALIKE_FALSE_REGIONS: "per look-alike"}
RECALLS = {
    names.MAX_RECALL: "highest recall",
    **{names.recall_of(size): f"of {size} ones" for size in names.SIZES},
}
CAPTION = (
    "Test images at the end of the run, mean and range over seeds. False regions at the highest confidence "
    "threshold with which the recall of regions is 0.5 (0.8) or more; where some seeds never reach that "
    "recall, of those that do, and how many these are: compare arms by that number first. Recall by all "
    "regions, also by size: below 0.3 % of the image, below 3 %, larger. All: the mean over defects, of the "
    "highest recall the lowest."
)


def false_alarm_tables(arms: Arms, labels: Mapping[str, str], seeds: int) -> list[Table]:
    """One table, a row per arm and defect, of the arms that have such metrics; none where no arm has. arms,
    labels: by `arm_key`; seeds: how many there are of any arm."""
    measured = {arm: runs for arm, members in arms.items() if (runs := _measured(list(members.values())))}
    if not measured:
        return []
    alarms = _columns([run for runs in measured.values() for run in runs])
    rows: list[Sequence[Cell]] = []
    for arm, runs in measured.items():
        for defect in (*runs[0].defects, None):
            rows.append(
                [
                    labels[arm],
                    seeds_text(len(runs), seeds),
                    defect or "all",
                    *(alarms_text(runs, names.of_split(SPLIT, name, defect)) for name in alarms),
                    *(_estimate(runs, names.of_split(SPLIT, name, defect)) for name in RECALLS),
                ]
            )
    return [Table(["run", "seeds", "defect", *alarms.values(), *RECALLS.values()], rows, CAPTION)]


def _measured(runs: Sequence[RecordedRun]) -> list[RecordedRun]:
    return [run for run in runs if names.of_split(SPLIT, names.MAX_RECALL) in run.metrics]


def _columns(runs: Sequence[RecordedRun]) -> dict[str, str]:
    """Names and titles of what is counted: on look-alikes only where the data set names some."""
    alike = any(names.of_split(SPLIT, names.LOOKALIKE_IMAGES) in run.metrics for run in runs)
    return {
        names.at_recall(name, recall): f"{title} at recall {recall:g}"
        for recall in names.RECALLS
        for name, title in ALARMS.items()
        if alike or name == names.FALSE_REGIONS
    }


def _estimate(runs: Sequence[RecordedRun], key: str) -> Estimate:
    return Estimate.of([run.last(key) for run in runs])


def alarms_text(runs: Sequence[RecordedRun], key: str) -> str:
    """False regions at a recall: "0.250 (0.100 to 0.400), 2 of 3 seeds", or "not reached"."""
    values = [math.inf if never_reached(run, key) else run.last(key) for run in runs]
    known = [value for value in values if not math.isnan(value)]
    reached = [value for value in known if math.isfinite(value)]
    if known and not reached:
        return "not reached"
    some = "" if len(reached) == len(known) else f", {len(reached)} of {len(known)} seeds"
    return f"{Estimate.of(reached)}{some}"
