"""`make reproduce RECORDED=1`: what is recorded is not trained again, what is missing is."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sbp.report.results import read_rows, write_rows
from sbp.run.results_version import RESULTS_VERSION
from tests.conftest import ROOT

FILES = ("results_smoke.csv", "curves_smoke.csv", "verdicts_smoke.csv")
ARMS = "arm=focus_all_b2"
START = """
import sys
from pathlib import Path
from sbp.report import sections
shown = Path(sys.argv.pop(1))
sections.sections_dirs = lambda: [shown]
from {module} import main
main()
"""


class Machine:
    """An output folder, and commands that run on it; sections are recorded in `shown`."""

    def __init__(self, output: Path, shown: Path):
        self.output, self.shown = output, shown

    def __call__(self, module: str, *arguments: str) -> str:
        """What the command says."""
        command = [sys.executable, "-c", START.format(module=module), str(self.shown), *arguments]
        environment = {**os.environ, "SBP_OUTPUT": str(self.output), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def reproduce(self, seeds: str, *arguments: str) -> str:
        given = ["selectivity", "--scale", "smoke", "--seeds", seeds, *arguments, ARMS]
        return self("experiments.reproduce", *given, "budget.compute=1", "hydra/launcher=basic")

    def recorded(self) -> dict[str, bytes]:
        return {name: (self.shown / "selectivity" / name).read_bytes() for name in FILES}

    def claims(self) -> str:
        """The report without where its results come from."""
        return (self.output / "report/smoke/report.md").read_text().split("## Claims")[1]


@pytest.mark.slow
def test_what_is_recorded_is_not_trained_again_and_what_is_missing_is(tmp_path):
    shown = tmp_path / "experiments"
    (shown / "selectivity").mkdir(parents=True)
    shutil.copy(ROOT / "experiments/selectivity/claims.yaml", shown / "selectivity")
    first, second, third = (Machine(tmp_path / name, shown) for name in ("first", "second", "third"))

    said = first.reproduce("0,1", "--no-report")
    assert "2 jobs in 1 sections, 2 runs to train" in said
    said = first("sbp.cli.main", "report", "--scale", "smoke", "--record")
    assert "taken as done: 0 recorded runs" in said
    assert said.count("recorded: ") == 3
    files = first.recorded()

    said = second("sbp.cli.main", "report", "--recorded")
    assert "taken as done: 2 recorded runs (2 new in this store)" in said
    assert second.claims() == first.claims()
    pictures = {path.name: path.read_bytes() for path in (first.output / "report/smoke/figures").iterdir()}
    assert pictures
    for name, content in pictures.items():
        assert (second.output / "report/smoke/figures" / name).read_bytes() == content, name

    said = second.reproduce("0,1", "--recorded", "--no-report")
    assert "2 runs taken as done from the recorded rows" in said
    assert "2 jobs in 1 sections, 0 runs to train" in said
    second("sbp.cli.main", "report", "--scale", "smoke", "--record")
    assert second.recorded() == files

    path = shown / "selectivity" / FILES[0]
    version = {"0": str(RESULTS_VERSION), "1": "0"}  # of seeds
    write_rows([row | {"results.version": version[row["seed"]]} for row in read_rows(path)], path)
    said = third.reproduce("0,1", "--recorded", "--no-report")
    assert "1 runs taken as done from the recorded rows; 1 row of another results version left out" in said
    assert "2 jobs in 1 sections, 1 runs to train" in said
