"""`make reproduce`: the whole grid or some sections of it, and the report; finished runs are not repeated."""

import argparse
import os
import sys
import time
from collections.abc import Sequence

from sbp.config.paths import output_root
from sbp.config.preflight import check_overrides
from sbp.errors import UserError
from sbp.sweep.progress import sweep_progress
from sbp.sweep.remaining import remaining
from sbp.train import start
from sbp.utils.progress import clock

# efficiency first: its runs have the machine to themselves, and the other sections take them over
SECTIONS = (
    "efficiency",
    "preliminary_study",
    "first_experiment",
    "two_defects",
    "selectivity",
    "upsampling",
    "border_effect",
    "gradient_similarity",
)
SCALES = ("smoke", "cpu", "gpu")
GPU_JOBS = "3"
"""Jobs side by side on one GPU, unless SBP_JOBS says otherwise."""


def main() -> None:
    """Command line: sections, --scale, --seeds, and further overrides for every run."""
    parser = argparse.ArgumentParser("python -m experiments.reproduce", description=__doc__)
    parser.add_argument("arguments", nargs="*", metavar="SECTION|KEY=VALUE", help=", ".join(SECTIONS))
    parser.add_argument("--scale", default="cpu")
    parser.add_argument("--seeds", default="0", help="for example 0,1,2")
    parser.add_argument("--no-report", action="store_true")
    options = parser.parse_args()
    try:
        sections = [a for a in options.arguments if "=" not in a] or list(SECTIONS)
        extra = [a for a in options.arguments if "=" in a]
        failed = reproduce(sections, options.scale, options.seeds, extra)
        if not options.no_report:
            report(options.scale, sections)
    except UserError as error:
        print(f"reproduce: {error}", file=sys.stderr)
        sys.exit(2)
    if failed:
        print(f"reproduce: {len(failed)} jobs failed", *failed, sep="\n  ", file=sys.stderr)
        sys.exit(1)


def reproduce(sections: Sequence[str], scale: str, seeds: str, extra: Sequence[str] = ()) -> list[str]:
    """Run the sections' multiruns one after the other; returns the lines of the jobs that failed.

    Every job of every section is composed and checked before the first one starts. Raises UserError.
    """
    for section in sections:
        if section not in SECTIONS:
            raise UserError(f"section {section}: must be one of {', '.join(SECTIONS)}")
    if scale not in SCALES:
        raise UserError(f"SCALE={scale}: must be one of {', '.join(SCALES)}")
    if not all(seed.strip().isdigit() for seed in seeds.split(",")):
        raise UserError(f"SEEDS={seeds}: must be whole numbers with commas between them, as in 0,1,2")
    common = [f"scale={scale}", f"seed={seeds}", *extra]
    if scale == "gpu":
        common.append("trainer=gpu")
        os.environ.setdefault("SBP_JOBS", GPU_JOBS)
    ordered = [section for section in SECTIONS if section in sections]
    commands = {section: ["-m", f"+experiment={section}", *common] for section in ordered}
    planned = {section: check_overrides(command).jobs for section, command in commands.items()}
    wanted = [job.config for jobs in planned.values() for job in jobs]
    left = remaining(wanted)
    print(f"{len(wanted)} jobs in {len(ordered)} sections, {len(left)} runs to train", flush=True)
    started, failed = time.monotonic(), []
    with sweep_progress(len(left)):
        for section, command in commands.items():
            failed += [f"{section}: {line}" for line in start([*command, *quiet()])]
    print(f"grid done in {clock(time.monotonic() - started)}", flush=True)
    return failed


def quiet() -> list[str]:
    """Overrides that leave the terminal to the bar."""
    return ["hydra/hydra_logging=none"]


def report(scale: str, sections: Sequence[str]) -> None:
    """Write the report and say where it is."""
    from sbp.report.study import write_report

    page = write_report(output_root(), scale, sections=list(sections))
    print(f"report:            {page}")
    print("in the MLflow UI:  make ui")


if __name__ == "__main__":
    from experiments.reproduce import main as real_main  # importable by jobs in other processes

    real_main()
