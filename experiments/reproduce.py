"""`make reproduce`: the whole grid or some sections of it, and the report; finished runs are not repeated."""

import argparse
import os
import sys
import time
from collections.abc import Sequence

from sbp.config import Config
from sbp.config.groups import TrackingConfig
from sbp.config.paths import output_root
from sbp.config.preflight import check_overrides
from sbp.errors import UserError
from sbp.report.measures import BUDGETS
from sbp.report.recorded import import_recorded, outdated_text
from sbp.report.sections import Section, chosen_sections
from sbp.run.fingerprint import fingerprint
from sbp.run.results_version import RESULTS_VERSION
from sbp.sweep.progress import differing, sweep_progress
from sbp.sweep.remaining import remaining
from sbp.train import start
from sbp.utils.pipes import outlive_closed_pipes
from sbp.utils.progress import clock

SCALES = ("smoke", "cpu", "gpu")
GPU_JOBS = "3"
"""Jobs side by side on one GPU, unless SBP_JOBS says otherwise."""


def main() -> None:
    """Command line: sections, --scale, --seeds, and further overrides for every run."""
    outlive_closed_pipes()
    parser = argparse.ArgumentParser("python -m experiments.reproduce", description=__doc__)
    parser.add_argument("arguments", nargs="*", metavar="SECTION|KEY=VALUE")
    parser.add_argument("--scale", default="cpu")
    parser.add_argument("--seeds", default="0", help="for example 0,1,2")
    parser.add_argument("--budgets", help="short, long or short,long; by default short, at smoke scale both")
    parser.add_argument("--no-report", action="store_true")
    about = "take runs that are recorded in experiments/*/results.csv as done"
    parser.add_argument("--recorded", action="store_true", help=about)
    options = parser.parse_intermixed_args()  # as make puts overrides behind the options
    try:
        sections = [a for a in options.arguments if "=" not in a] or None
        extra = [a for a in options.arguments if "=" in a]
        failed = reproduce(
            sections,
            options.scale,
            options.seeds,
            extra,
            with_report=not options.no_report,
            recorded=options.recorded,
            budgets=options.budgets or ("short,long" if options.scale == "smoke" else "short"),
        )
    except UserError as error:
        print(f"reproduce: {error}", file=sys.stderr)
        sys.exit(2)
    if failed:
        print(f"reproduce: {len(failed)} jobs failed", *failed, sep="\n  ", file=sys.stderr)
        sys.exit(1)


def reproduce(
    sections: Sequence[str] | None,
    scale: str,
    seeds: str,
    extra: Sequence[str] = (),
    with_report: bool = True,
    recorded: bool = False,
    budgets: str = "short",
) -> list[str]:
    """Run the multiruns of sections, None for all that have claims, one after the other, and write the
    report; returns the lines of the jobs that failed. recorded: runs that are recorded beside the sections'
    claims are done. budgets: those of sections that sweep over some.

    Every job of every section is composed and checked before the first one starts. Raises UserError.
    """
    ordered = running_order(sections)
    if scale not in SCALES:
        raise UserError(f"SCALE={scale}: must be one of {', '.join(SCALES)}")
    if not all(seed.strip().isdigit() for seed in seeds.split(",")):
        raise UserError(f"SEEDS={seeds}: must be whole numbers with commas between them, as in 0,1,2")
    for budget in budgets.split(","):
        if budget not in BUDGETS:
            raise UserError(f"BUDGETS={budgets}: must be one of {', '.join(BUDGETS)}, or several with commas")
    common = [f"scale={scale}", f"seed={seeds}", *extra]
    if scale == "gpu":
        common.append("trainer=gpu")
        os.environ.setdefault("SBP_JOBS", GPU_JOBS)
    several = {s.name: [f"budget={budgets}"] for s in ordered if len(s.budgets) > 1}
    commands = {
        s.name: ["-m", f"experiment={s.experiment}", *several.get(s.name, []), *common] for s in ordered
    }
    planned = {section: check_overrides(command).jobs for section, command in commands.items()}
    jobs = [job for jobs in planned.values() for job in jobs]
    wanted = [job.config for job in jobs]
    left = take_recorded(scale, sections, wanted) if recorded else remaining(wanted)
    print(f"{len(wanted)} jobs in {len(ordered)} sections, {len(left)} runs to train", flush=True)
    started, failed = time.monotonic(), []
    with sweep_progress(len(left), differing(job.overrides for job in jobs)):
        for section, command in commands.items():
            failed += [f"{section}: {line}" for line in start([*command, *quiet()])]
    print(f"grid done in {clock(time.monotonic() - started)}", flush=True)
    if with_report:
        report(scale, sections, wanted[0].tracking, str(RESULTS_VERSION) if recorded else None)
    return failed


def take_recorded(scale: str, sections: Sequence[str] | None, wanted: Sequence[Config]) -> list[Config]:
    """Put what is recorded into the store that the runs go to, and say how many of those wanted are done
    thereby; returns those that are left, see `remaining`."""
    tracking = wanted[0].tracking
    if tracking.name == "none":
        raise UserError("--recorded: not with tracking=none, which has no place for runs")
    where = {"uri": tracking.uri, "experiment": tracking.experiment}
    imported = import_recorded(output_root(), str(RESULTS_VERSION), scale, sections, **where)
    left = remaining(wanted)
    done = (imported.runs & set(map(fingerprint, wanted))) - set(map(fingerprint, left))
    left_out = f"; {outdated_text(imported.outdated)} left out" if imported.outdated else ""
    print(f"{len(done)} runs taken as done from the recorded rows{left_out}", flush=True)
    return left


def running_order(sections: Sequence[str] | None = None) -> list[Section]:
    """Sections as they are run: first those whose runs have the machine to themselves, as the others take
    such runs over, but not the other way round."""
    chosen = [s for s in chosen_sections(sections) if sections or (s.file and s.file.grid)]
    return sorted(chosen, key=lambda section: not section.exclusive)


def quiet() -> list[str]:
    """Overrides that leave the terminal to the bar."""
    return ["hydra/hydra_logging=none"]


def report(
    scale: str, sections: Sequence[str] | None, tracking: TrackingConfig, version: str | None = None
) -> None:
    """Write the report on the runs that `tracking` has recorded, and say where it is. version: of results,
    None for that of the newest run."""
    from sbp.report.writing import write_report

    where = {"uri": tracking.uri, "experiment": tracking.experiment, "version": version}
    page = write_report(output_root(), scale, sections, **where)
    print(f"report:            {page}")
    print("in the MLflow UI:  make ui")


if __name__ == "__main__":
    from experiments.reproduce import main as real_main  # importable by jobs in other processes

    real_main()
