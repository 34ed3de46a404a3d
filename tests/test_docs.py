"""Every command of every page is run, or checked as far as it can be without hours of training."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sbp.config.preflight import check_overrides
from sbp.errors import UserError
from tests.data.test_formats import image
from tests.processes import command

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("experiments/**/*.md")])
SIDE = 40
NEEDS = ("stripes", "top_fraction", "tiny_net", "my_arm")
"""Names of options that come from the package of examples, which its own tests install."""


def commands_of(page: Path) -> list[str]:
    """The commands in the page's blocks of shell, with lines that are continued, without comments."""
    found = []
    for block in re.findall(r"```(?:sh|bash|console)\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words:
                found.append(shlex.join(words))
    return found


COMMANDS = [pytest.param(line, id=f"{page.name}: {line}") for page in PAGES for line in commands_of(page)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A folder of own images as docs/own_images.md shows it: 12 parts, seen from two sides."""
    root, rng = tmp_path_factory.mktemp("docs") / "parts", np.random.default_rng(0)
    for part in range(1, 13):
        for side in ("top", "side"):
            name = f"part{part:03}_{side}.png"
            image(root / "images" / name, rng.integers(40, 90, (SIDE, SIDE), dtype=np.uint8))
            if part % 3 and side == "top":
                mask = np.zeros((SIDE, SIDE), np.uint8)
                mask[5:15, 5:12] = 255
                image(root / "masks" / ("scratch", "dent")[part % 2] / name, mask)
    return root


def filled_in(line: str, folder: Path) -> list[str]:
    words = shlex.split(line)
    return [word.replace("FOLDER", str(folder)).replace("PATH", str(folder)) for word in words]


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_of_the_docs_are_right(line, folder, tmp_path, monkeypatch):
    monkeypatch.setenv("SBP_OUTPUT", str(tmp_path))
    words = filled_in(line, folder)
    if words[0] == "torchrun":
        assert shutil.which("torchrun", path=Path(sys.executable).parent)
        words = ["python", *words[words.index("-m") :]]
    if any(name in line for name in NEEDS):
        pytest.skip("an option of a package that is not installed here")
    if words[0] == "make":
        done = subprocess.run(["make", "-n", *words[1:]], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    elif words[:3] == ["python", "-m", "sbp.train"] or words[:2] == ["sbp", "train"]:
        assert_composes(words[3:] if words[0] == "python" else words[2:], folder)
    elif words[0] == "sbp":
        assert_runs(words[1:], folder, tmp_path)
    else:
        assert shutil.which(words[0]) or words[0] in ("git", "cd", "docker", "pip"), words[0]


def assert_composes(words: list[str], folder: Path) -> None:
    """Every job of the command is composed and checked, as it is before training."""
    if public := next((word for word in words if word.startswith("data=")), None):
        embedded = public in ("data=inspection", "data=mnist_small")
        words = words if embedded else [*words, "data.root=" + str(folder)]
    # every seed composes as the first does
    assert check_overrides([re.sub(r"^seed=\d[\d,]*$", "seed=0", word) for word in words]).jobs


def assert_runs(words: list[str], folder: Path, output: Path) -> None:
    if words[0] == "data" and not any(word.startswith("data=") for word in words):
        words = [str(output / "converted") if word == "converted" else word for word in words]
        done = command(*words, output=output)
        assert done.returncode in (0, 1), done.stderr  # 1: the verdict on these images
        assert "Traceback" not in done.stderr
    elif words[0] == "data":  # a public set, which is not here
        assert_composes(words[2:], folder)
    elif words[0] == "options":
        assert command(*words, output=output).returncode == 0
    else:
        done = command(words[0], "--help", output=output)
        assert done.returncode == 0
        for option in (word for word in words if word.startswith("--")):
            assert option in done.stdout, option


INLINE = sorted(
    {
        (page.name, span.replace("\n", " "))
        for page in (ROOT / "README.md", ROOT / "docs" / "own_images.md", ROOT / "docs" / "sweeps.md")
        for span in re.findall(
            r"(?<!`)`([a-z_]+(?:\.[a-z_]+)*=[^`]+)`(?!`)", page.read_text(encoding="utf-8")
        )
    }
)


@pytest.mark.slow
@pytest.mark.parametrize(("page", "words"), INLINE)
def test_overrides_of_the_docs_are_right(page, words, folder, tmp_path, monkeypatch):
    """What stands in a sentence, `data.fit=tile data.image_size=256`, is taken by a command line as well."""
    monkeypatch.setenv("SBP_OUTPUT", str(tmp_path))
    if re.search(r"[A-Z]{3,}|\.\.\.|my_|_target_", words):
        pytest.skip("a placeholder")
    words = shlex.split(words)
    keys = {word.split("=")[0] for word in words}
    if any(key.startswith("data.") for key in keys) and "data" not in keys:
        words = ["data=masks", f"data.root={folder}", "data.defects=[scratch,dent]", *words]
    several = any("," in word and not re.search(r"[\[{]", word) for word in words)
    said = refusal(["-m", *words] if several else words)
    if match := re.match(r"data\.(\w+): no such key", said):  # of another layout
        assert any(f"\n{match[1]}:" in path.read_text() for path in (ROOT / "conf" / "data").glob("*.yaml"))
    else:
        assert not said or re.search(ELSEWHERE, said), said


ELSEWHERE = (
    "data.root is not set|tracking.uri=null|data.void=#e0e0c0: must be a grey value"
    "|or choose data.fit=tile|hydra.launcher.ray: no such key"
)
"""What a sentence leaves to the command that it speaks of."""


def refusal(words: list[str]) -> str:
    try:
        check_overrides(words)
    except UserError as error:
        return str(error)
    return ""
