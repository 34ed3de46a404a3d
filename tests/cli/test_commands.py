"""What stands around the code: conf/ found from anywhere, the wheel, the Makefile."""

import os
import subprocess
import sys
import zipfile

import pytest

from sbp.config.paths import clone_root, conf_dir, output_root
from tests.conftest import ROOT


def test_in_a_clone_conf_and_outputs_are_the_clones(monkeypatch, tmp_path):
    monkeypatch.delenv("SBP_OUTPUT", raising=False)
    monkeypatch.chdir(tmp_path)
    assert clone_root() == ROOT
    assert conf_dir() == str(ROOT / "conf")
    assert output_root() == str(ROOT / "outputs")


def test_the_output_folder_can_be_chosen(monkeypatch, tmp_path):
    monkeypatch.setenv("SBP_OUTPUT", str(tmp_path / "elsewhere"))
    assert output_root() == str(tmp_path / "elsewhere")


@pytest.mark.slow
def test_an_installed_wheel_finds_its_own_conf_in_any_folder(tmp_path):
    """The wheel is built without isolation, so that no network is needed, and unpacked as pip would."""
    pytest.importorskip("hatchling")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)],
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("sbp-*.whl")
    site, elsewhere = tmp_path / "site", tmp_path / "elsewhere"
    elsewhere.mkdir()
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    code = (
        "import sbp, sbp.config.paths as c; print(sbp.__file__); print(c.conf_dir()); print(c.output_root())"
    )
    environment = {k: v for k, v in os.environ.items() if k != "SBP_OUTPUT"} | {"PYTHONPATH": str(site)}
    found = subprocess.run(
        [sys.executable, "-c", code],
        cwd=elsewhere,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert found == [str(site / "sbp/__init__.py"), str(site / "sbp/conf"), str(elsewhere / "outputs")]
    code = (
        "import sbp.report.sections as s, sbp.report.documents as d, sbp.plots.style\n"
        "print(*(section.folder / 'claims.yaml' for section in s.chosen_sections()))\n"
        "print(d._templates().list_templates())"
    )
    report = subprocess.run(
        [sys.executable, "-c", code],
        cwd=elsewhere,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    claims = {path.parent.name for path in (ROOT / "experiments").glob("*/claims.yaml")}
    assert set(report[0].split()) == {str(site / f"sbp/experiments/{name}/claims.yaml") for name in claims}
    assert report[1] == "['page.css', 'report.html', 'report.md']"
    assert not list((site / "sbp/experiments").rglob("*.csv"))  # results are the clone's
    shown = subprocess.run(
        [sys.executable, "-m", "sbp.cli.main", "train", "--cfg", "job", "beta=b2", "scale=smoke"],
        cwd=elsewhere,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert shown.returncode == 0, shown.stderr
    assert "value: 2" in shown.stdout
    options = ["hydra/launcher=slurm_local", "scale=smoke", "budget.compute=0.5", "seed=0"]
    swept = subprocess.run(
        [sys.executable, "-m", "sbp.cli.main", "train", "-m", *options],
        cwd=elsewhere,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert swept.returncode == 0, swept.stderr
    assert list((elsewhere / "outputs").glob("sweeps/*/*/*/last.pt"))


def test_make_help_lists_every_target():
    shown = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for target in ("setup", "demo", "train", "ui", "test", "check", "bench"):
        assert f"make {target}" in shown
