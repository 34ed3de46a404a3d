"""What is imported is declared in pyproject.toml, and what is declared is used."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions

import pytest

from tests.conftest import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
HYDRA_PLUGINS = {"hydra-joblib-launcher": "hydra/launcher/parallel.yaml"}
"""Loaded by Hydra for an option in conf/, imported by nobody."""


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def names(requirements: list[str]) -> set[str]:
    """The distributions that requirements such as "torch>=2.9" name."""
    return {canonical(re.match(r"[\w.-]+", requirement).group()) for requirement in requirements}


EXTRAS = PROJECT["optional-dependencies"]
REQUIRED, DEVELOPMENT = names(PROJECT["dependencies"]), names(EXTRAS["dev"])
ENGINES = names([*EXTRAS["slurm"], *EXTRAS["ray"]])
"""Imported by the launchers that need them; not installed everywhere."""
FOREIGN = {"cleanlab"}
"""Imported by scripts that another environment's Python runs, for comparison."""
DISTRIBUTIONS = {name: {canonical(d) for d in found} for name, found in packages_distributions().items()}


def imported(*folders: str) -> set[str]:
    """The libraries that files import, wherever in the file."""
    found = set()
    for path in (path for folder in folders for path in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                found.add(str(node.module).split(".")[0])
    own = {path.name for folder in (ROOT, ROOT / "experiments" / "examples") for path in folder.iterdir()}
    return found - sys.stdlib_module_names - own


@pytest.mark.parametrize(
    ("folders", "declared"),
    [(("sbp", "experiments"), REQUIRED | ENGINES), (("tests",), REQUIRED | DEVELOPMENT | ENGINES)],
    ids=["package", "tests"],
)
def test_every_library_that_is_imported_is_declared(folders, declared):
    libraries = imported(*folders) - FOREIGN
    assert "numpy" in libraries
    missing = {name for name in libraries if not DISTRIBUTIONS.get(name, {name}) & declared}
    assert not missing, f"not in pyproject.toml: {sorted(missing)}"


def test_every_library_that_is_declared_is_imported():
    used = set().union(*(DISTRIBUTIONS.get(name, set()) for name in imported("sbp", "experiments")))
    unused = REQUIRED - used - set(HYDRA_PLUGINS)
    assert not unused, f"in pyproject.toml, and imported by nothing: {sorted(unused)}"
    for option in HYDRA_PLUGINS.values():
        assert (ROOT / "conf" / option).is_file()


def test_every_library_that_is_declared_has_a_version_that_was_tested():
    pinned = names((ROOT / "constraints.txt").read_text().splitlines()[1:])
    assert pinned >= REQUIRED | DEVELOPMENT
