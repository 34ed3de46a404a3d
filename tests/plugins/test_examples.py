"""experiments/examples, installed as a package outside of the repository: every kind of option can be had."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from sbp.tracking.runs import read_runs
from sbp.tracking.store import open_store
from tests.conftest import ROOT

EVERYTHING = (
    "selection=top_fraction",
    "aggregation=quantile",
    "staleness=growing",
    "loss=weighted_bce",
    "optimizer=rmsprop",
    "model=tiny_net",
    "data=stripes",
)


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """A folder of installed packages that holds the examples, as pip leaves them."""
    folder = tmp_path_factory.mktemp("site")
    source = shutil.copytree(
        ROOT / "experiments" / "examples", tmp_path_factory.mktemp("source") / "examples"
    )
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-index",
        "--no-deps",
        "--no-build-isolation",
    ]
    subprocess.run([*pip, "--target", folder, source], check=True, timeout=120)
    return folder


def run(site: Path, output: Path, *command: str) -> subprocess.CompletedProcess:
    """A command of sbp in a folder of its own, with the installed examples."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(site), str(ROOT)]),
        "SBP_OUTPUT": str(output),
        "OMP_NUM_THREADS": "1",
    }
    return subprocess.run(
        [sys.executable, "-m", *command],
        cwd=site,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )


def composed(site: Path, output: Path, *jobs: list[str]) -> list[tuple[str, str]]:
    """Of each job at smoke scale, its fingerprint and the folder of its images, which are made if need be; or
    what was wrong with it, twice. All in one process."""
    code = (
        "import json, sys, sbp.train\n"
        "from sbp.build.data import open_cached\n"
        "from sbp.config.preflight import check_overrides\n"
        "from sbp.errors import UserError\n"
        "from sbp.run.fingerprint import fingerprint\n"
        "for words in json.loads(sys.argv[1]):\n"
        "    try:\n"
        "        config = check_overrides(words).jobs[0].config\n"
        "        print(json.dumps([fingerprint(config), str(open_cached(config).path)]))\n"
        "    except UserError as error:\n"
        "        print(json.dumps([str(error), str(error)]))\n"
    )
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(site), str(ROOT)]),
        "SBP_OUTPUT": str(output),
    }
    words = json.dumps([["scale=smoke", *job] for job in jobs])
    done = subprocess.run(
        [sys.executable, "-c", code, words], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return [tuple(json.loads(line)) for line in done.stdout.splitlines()]


@pytest.mark.slow
def test_a_run_takes_every_part_from_outside(site, tmp_path):
    numbers = ("selection.fraction=0.5", "budget.compute=5")
    done = run(site, tmp_path, "sbp.train", *EVERYTHING, "scale=smoke", *numbers)
    assert done.returncode == 0, done.stderr + done.stdout
    (recorded,) = read_runs(open_store(None, tmp_path), "sbp")
    assert recorded.status == "FINISHED"
    chosen = {
        group: recorded.params[group] for group in ("selection", "aggregation", "model", "data", "loss")
    }
    assert chosen == {
        "selection": "top_fraction",
        "aggregation": "quantile",
        "model": "tiny_net",
        "data": "stripes",
        "loss": "weighted_bce",
    }
    assert recorded.params["selection.fraction"] == "0.5"
    assert recorded.params["staleness.factor"] == "2.0"
    kept = recorded.values("train/kept_fraction")
    assert kept[0] == 1.0  # the warm-up epoch
    assert kept[1:] == pytest.approx(0.5)
    scored = recorded.values("cost/scored_fraction")
    assert scored[:5].tolist() == [0, 1, 1, 1, 0]  # before the selective epochs 0, 1, 2, and not 3
    # the loss of a weighted map, scored by a quantile of it
    assert any(key.startswith("scores/quantile/across/") for key in recorded.metrics)
    used = run(site, tmp_path, "sbp.cli.main", "evaluate", str(recorded.folder / "last.pt"))
    assert used.returncode == 0, used.stderr
    assert re.search(r"\bacross\b[\s\S]*\nmAP ", used.stdout)


@pytest.mark.slow
def test_an_own_layout_is_read_and_checked(site, tmp_path):
    root = tmp_path / "images"
    root.mkdir()
    rng = np.random.default_rng(0)
    for number in range(30):
        image = rng.integers(0, 90, (32, 32)).astype(np.uint8)
        if number % 3 == 0:
            mask = np.zeros((32, 32), np.uint8)
            mask[8:14, 8:14] = 255
            image[mask > 0] += 120
            cv2.imwrite(str(root / f"part{number}.mask.png"), mask)
        cv2.imwrite(str(root / f"part{number}.png"), image)
    done = run(
        site, tmp_path / "out", "sbp.cli.main", "data", "check", "data=pairs", f"data.root={root}",
        "data.defects=[dent]",
    )  # fmt: skip
    assert "10 (3.516%)" in done.stdout or "GOOD" in done.stdout, done.stdout + done.stderr
    done = run(
        site, tmp_path / "out", "sbp.train", "data=pairs", f"data.root={root}", "data.defects=[dent]",
        "scale=smoke", "model=tiny_net",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr + done.stdout


@pytest.mark.slow
def test_an_own_section_is_swept_and_judged(site, tmp_path):
    sweep = ["sbp.train", "-m", "experiment=stripes", "scale=smoke", "seed=0", "hydra/launcher=basic"]
    done = run(site, tmp_path, *sweep)
    assert done.returncode == 0, done.stderr + done.stdout
    runs = read_runs(open_store(None, tmp_path), "sbp", "attributes.status = 'FINISHED'")
    assert sorted(r.tags["section.stripes"] for r in runs) == ["balanced", "top_fraction"]
    done = run(site, tmp_path, "sbp.cli.main", "report", "stripes", "--scale", "smoke")
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "report" / "smoke" / "report.md").read_text()
    assert "Does keeping the highest losses without chance learn stripes?" in page
    assert "X1" in page
    assert "top quarter, quantile" in page


MISTAKES = {
    "selection=top_fraction selection.fraction=2": "selection.fraction=2.0: must be above 0 and at",
    "selection=top_fraction selection.part=1": "selection.part: no such key; allowed in selection:",
    "model=tiny_net model.width=x": "model.width=x: ",
    "data=stripes data.images=3": "data.images=3: must be at least 48",
    "model=tiny_net data.image_size=33": "data.image_size=33: must be a multiple of 2",
    "selection=top_fractoin": "must be one of .*top_fraction.*did you mean top_fraction",
}


@pytest.mark.slow
def test_a_mistake_in_an_own_key_is_one_line(site, tmp_path):
    said = composed(site, tmp_path, *(words.split() for words in MISTAKES))
    for (line, _), message in zip(said, MISTAKES.values(), strict=True):
        assert "\n" not in line
        assert re.search(message, line)


@pytest.mark.slow
def test_the_source_of_a_plugin_is_part_of_the_fingerprint(site, tmp_path):
    changed, own = shutil.copytree(site, tmp_path / "changed"), ["selection=top_fraction"]
    (before, _), (plain, _) = composed(site, tmp_path / "a", own, [])
    assert composed(changed, tmp_path / "b", own)[0][0] == before  # another place is no other code
    policy = changed / "sbp_examples" / "policy.py"
    policy.write_text(policy.read_text().replace("max(1, ", "max(2, "))
    (after, _), (unused, _) = composed(changed, tmp_path / "b", own, [])
    assert after != before
    assert unused == plain  # runs that do not use it stay the same


@pytest.mark.slow
@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "import numpy as np",
            "import nothing_of_that_name",
            "plugin sbp_examples of sbp-examples: importing sbp_examples failed: ModuleNotFoundError",
        ),
        (
            'register("top_fraction")',
            'register("balanced")',
            "selection=balanced: sbp_examples.policy.TopFraction needs another name",
        ),
    ],
    ids=["not importable", "name is taken"],
)
def test_a_plugin_that_cannot_be_used_is_one_line(site, tmp_path, old, new, message):
    broken = shutil.copytree(site, tmp_path / "broken")
    policy = broken / "sbp_examples" / "policy.py"
    policy.write_text(policy.read_text().replace(old, new))
    done = run(broken, tmp_path, "sbp.train", "scale=smoke")
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert message in line


@pytest.mark.slow
def test_generated_images_are_made_anew_when_their_code_changes(site, tmp_path):
    changed = shutil.copytree(site, tmp_path / "changed")
    source = changed / "sbp_examples" / "source.py"
    source.write_text(source.read_text().replace("+= 120", "+= 60"))
    made = [composed(place, tmp_path, ["data=stripes"])[0][1] for place in (site, site, changed)]
    assert made[0] == made[1] != made[2]
    assert {str(path) for path in (tmp_path / "cache").glob("stripes-*")} == set(made)
