"""The sections whose runs build on earlier runs, as `make reproduce-NAME` runs them, and their report."""

import os
import re
import subprocess
import sys

import cv2
import numpy as np
import pytest

from sbp.report.sections import known_sections
from sbp.report.study import read_study
from tests.conftest import ROOT
from tests.report.test_report_page import read

SECTIONS = ("active_learning", "incremental")
COMMAND = [sys.executable, "-m", "experiments.reproduce", *SECTIONS, "--scale", "smoke", "--budgets", "short"]


@pytest.mark.slow
def test_both_run_are_reported_and_not_trained_again(tmp_path):
    env = {**os.environ, "SBP_OUTPUT": str(tmp_path), "OMP_NUM_THREADS": "1", "SBP_JOBS": "2"}
    done = subprocess.run(COMMAND, env=env, cwd=ROOT, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    assert "13 jobs in 2 sections, 13 runs to train" in done.stdout
    study = read_study(str(tmp_path), "smoke", SECTIONS)
    arms = {name: study.arms_of(known_sections()[name]) for name in SECTIONS}
    assert {name: [len(runs) for runs in found.values()] for name, found in arms.items()} == {
        "active_learning": [1] * 6,
        "incremental": [1] * 7,
    }
    for runs in arms["active_learning"].values():
        assert runs[0].series("labelled/images")[1].tolist() == [16, 24, 32]
    first = {runs[0].series("labelled/map")[1][0] for runs in arms["active_learning"].values()}
    assert len(first) == 1  # all rules begin with the same run
    before = {runs[0].last("before/scratch") for runs in arms["incremental"].values()}
    assert len({value for value in before if not np.isnan(value)}) == 1
    assert np.isnan(arms["incremental"]["arrival_joint"][0].last("before/scratch"))
    page = read((tmp_path / "report/smoke/report.html").read_text())
    assert re.search(r"S43.*S55", page.text, re.DOTALL)
    assert "Runs that are missing" not in page.text
    pictures = {
        path.stem: cv2.imread(str(path)) for path in (tmp_path / "report/smoke/figures").glob("*.png")
    }
    assert set(pictures) == {*(f"active-learning-{n}-curves" for n in (1, 2, 3)), "incremental-1-curves"}
    assert all(len(np.unique(picture[::3, ::3])) > 10 for picture in pictures.values())
    again = subprocess.run(
        [*COMMAND, "--no-report"], env=env, cwd=ROOT, capture_output=True, text=True, timeout=200
    )
    assert "13 jobs in 2 sections, 0 runs to train" in again.stdout
