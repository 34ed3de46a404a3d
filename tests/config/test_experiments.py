"""The experiments as configured: each job composes, arms mean the same everywhere, sections hold theirs."""

import json
from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf

from sbp.config import flattened
from sbp.config.preflight import Plan, check_overrides
from sbp.errors import UserError
from sbp.report.results import read_rows
from sbp.report.sections import Section, chosen_sections
from sbp.run.fingerprint import fingerprint
from tests.conftest import ROOT, make_config, plan_of
from tests.data.test_formats import image

EXPERIMENTS = sorted(path.stem for path in (ROOT / "conf/experiment").glob("*.yaml"))
OTHERS = ("demo", "search", "leakage", "tuning")
"""Experiments that are no section of the grid."""
SECTIONS = [name for name in EXPERIMENTS if name not in OTHERS]
KNOWN = chosen_sections()
GRID = {section.name for section in KNOWN if section.file and section.file.grid}
ROOTS: dict[str, Path] = {}
"""Where the images of a section are, if it does not generate them."""
QUICK = ("two_defects", "smoke")
"""The section that is composed in the quick tests; those of sweeps compose others."""


@pytest.fixture(scope="module", autouse=True)
def published(tmp_path_factory) -> None:
    """Folders in the layouts of the published sets, with a photograph each."""
    root = tmp_path_factory.mktemp("published")
    photograph = np.zeros((40, 40), np.uint8)
    image(root / "labelme/1.jpg", photograph)
    shape = {"label": "Pitting", "points": [[5, 5], [20, 5], [20, 20]], "shape_type": "polygon"}
    about = {"imagePath": "1.jpg", "imageHeight": 40, "imageWidth": 40, "shapes": [shape]}
    (root / "labelme/1.json").write_text(json.dumps(about))
    image(root / "yolo/images/1.jpg", photograph)
    (root / "yolo/labels").mkdir()
    (root / "yolo/labels/1.txt").write_text("0 0.1 0.1 0.5 0.1 0.5 0.5\n")
    ROOTS.update(
        real_bsdata=root / "labelme", real_kolektor_sdd=root / "yolo", real_magnetic_tile=root / "tiles"
    )


def section_plan(section: str, scale: str = "smoke", seeds: str = "0") -> Plan:
    where = [f"data.root={ROOTS[section]}"] if section in ROOTS else []
    return plan_of("-m", f"experiment={section}", f"scale={scale}", f"seed={seeds}", *where)


@pytest.mark.parametrize(
    ("section", "scale"),
    [
        QUICK,
        *(pytest.param(section, "cpu", marks=pytest.mark.slow) for section in sorted(GRID)),
    ],
)
def test_every_job_of_every_section_composes(section, scale):
    plan = section_plan(section, scale, seeds="0,1" if scale == "smoke" else "0")
    assert plan.sweep
    assert plan.complete
    assert all(job.config.section == section for job in plan.jobs)
    names = {(job.config.label, job.config.budget.compute, job.config.seed) for job in plan.jobs}
    assert len(names) == len(plan.jobs)  # names tell the arms apart
    assert len({fingerprint(job.config) for job in plan.jobs}) == len(plan.jobs)
    threads = {job.config.trainer.threads for job in plan.jobs}
    assert threads == ({None} if section == "efficiency" else {1})


@pytest.mark.slow
def test_an_arm_is_the_same_run_in_every_section():
    known: dict[tuple, str] = {}
    for section in SECTIONS:
        for config in (job.config for job in section_plan(section).jobs):
            name = (config.data.name, config.label, config.budget.compute, config.seed)
            found = fingerprint(config)
            assert known.setdefault(name, found) == found
    assert len(known) >= 20


def test_what_is_recorded_is_what_the_config_makes():
    """Or `make reproduce RECORDED=1` would train it again: a new key belongs into the fingerprint's LATER."""
    recorded = {row["fingerprint"] for row in read_rows(ROOT / "experiments/convergence/results.csv")}
    jobs = plan_of("-m", "experiment=convergence", "scale=cpu", "seed=0").jobs
    assert {fingerprint(job.config) for job in jobs} <= recorded


def test_an_experiment_without_m_is_a_sweep_too():
    plan = check_overrides(["experiment=selectivity", "scale=smoke"])
    assert plan.sweep
    assert len(plan.jobs) == 8


def test_every_comparison_holds_the_controls():
    for section in GRID - {"preliminary_study", "gradient_similarity"}:
        jobs = section_plan(section).jobs
        names = {job.config.selection.name for job in jobs}
        assert {"none", "random", "balanced"} <= names, section
        budgets = {job.config.budget.compute for job in jobs}
        assert len(budgets) == (2 if section == "convergence" else 1), section


def test_a_wrong_arm_is_one_line_before_anything_starts():
    with pytest.raises(UserError, match=r"arm=focus_al: must be one of .* \(did you mean focus_all\?\)"):
        check_overrides(["-m", "experiment=two_defects", "arm=baseline,focus_al"])


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_sweeps_and_composes(name):
    file = OmegaConf.load(ROOT / "conf/experiment" / f"{name}.yaml")
    assert "arm" in file.hydra.sweeper.params or name in OTHERS
    plan = section_plan(name) if name in SECTIONS else plan_of("-m", f"experiment={name}")
    assert plan.sweep
    assert len(plan.jobs) > 0 or not plan.complete


@pytest.mark.parametrize("section", KNOWN, ids=lambda section: section.name)
def test_a_section_has_the_arms_that_its_experiment_runs(section: Section):
    jobs = section_plan(section.experiment).jobs

    def swept(group: str) -> list[str]:
        chosen = [c.partition("=") for job in jobs for c in job.overrides]
        return list(dict.fromkeys(option for key, _, option in chosen if key == group))

    assert list(section.arms) == swept("arm")
    assert list(section.budgets) == (swept("budget") or ["short"])
    assert len(jobs) == len(section.arms) * len(section.budgets)
    assert {job.config.exclusive for job in jobs} == {section.exclusive}
    named = {measure.arm for claim in section.file.claims for measure in claim.measures()}
    named |= {arm for figure in section.file.figures for arm in figure.arms}
    run_somewhere = {arm for other in KNOWN for arm in other.arms}
    assert named <= run_somewhere  # or a claim can never be judged


def test_arms_and_experiments_inherit():
    focus, child = make_config("arm=focus_all"), make_config("arm=focus_all_b2")
    assert (focus.beta.value, child.beta.value) == (8.0, 2.0)
    assert flattened(focus) | {"beta.value": 2.0, "label": child.label} == flattened(child)
    exclusive, grid = (section_plan(e).jobs[0].config for e in ("efficiency", "two_defects"))
    assert (exclusive.exclusive, exclusive.trainer.threads, exclusive.evaluation.count) == (True, None, 16)
    assert (grid.exclusive, grid.trainer.threads, grid.evaluation.count) == (False, 1, 16)
