"""Import directions between the packages, read from the source of every file in sbp/."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import sbp

PACKAGE = Path(sbp.__file__).parent
STDLIB = sys.stdlib_module_names
MODULES = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}


def imports_of(source: str, module: str, is_package: bool = False) -> set[str]:
    """Absolute names of everything a module imports, wherever in the file, also under TYPE_CHECKING.

    `from a import b` counts as a and as a.b, as b may be a module.
    """
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = module.split(".") if is_package else module.split(".")[:-1]
                parents = parents[: len(parents) - node.level + 1]
                base = ".".join([*parents, *([node.module] if node.module else [])])
            found |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name in ("import_module", "__import__"):
                found.add(str(node.args[0].value))
    return found


IMPORTS = {
    name: imports_of(path.read_text(), name, path.name == "__init__.py") for name, path in MODULES.items()
}


def inside(name: str, *packages: str) -> bool:
    """Whether a dotted name is one of the packages or lies in one."""
    return any(name == package or name.startswith(package + ".") for package in packages)


def importers(*packages: str) -> set[str]:
    """The modules of sbp that import one of the packages."""
    return {module for module, names in IMPORTS.items() if any(inside(name, *packages) for name in names)}


def imported_by(package: str) -> dict[str, set[str]]:
    """Module to what it imports, for the modules of a package, which must exist."""
    result = {module: names for module, names in IMPORTS.items() if inside(module, package)}
    assert result, f"{package} holds no module"
    return result


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import mlflow.entities as e", {"mlflow.entities"}),
        ("def f():\n    from mlflow import MlflowClient", {"mlflow", "mlflow.MlflowClient"}),
        ("if TYPE_CHECKING:\n    import cv2", {"cv2"}),
        ("from sbp import train", {"sbp", "sbp.train"}),
        ("from . import policies", {"sbp.selection", "sbp.selection.policies"}),
        ("from .policies import Random", {"sbp.selection.policies", "sbp.selection.policies.Random"}),
        ("from ..data import arrays", {"sbp.data", "sbp.data.dataset"}),
        ("importlib.import_module('hydra')", {"hydra"}),
        ("# import hydra\nx = 'import hydra'", set()),
    ],
)
def test_the_reader_sees_every_way_to_import(source, expected):
    assert imports_of(source, "sbp.selection.sampler") == expected


def test_relative_imports_of_a_package_are_its_own_modules():
    found = imports_of("from .policies import Random", "sbp.selection", is_package=True)
    assert found == {"sbp.selection.policies", "sbp.selection.policies.Random"}


@pytest.mark.parametrize(
    ("package", "libraries"),
    [("sbp.selection", ("torch", "numpy")), ("sbp.metrics", ("torch", "numpy", "cv2"))],
)
def test_the_package_stands_alone(package, libraries):
    for module, names in imported_by(package).items():
        strangers = {
            name
            for name in names
            if name.split(".")[0] not in STDLIB and not inside(name, package, *libraries)
        }
        assert not strangers, f"{module} imports {sorted(strangers)}"


@pytest.mark.parametrize(
    ("package", "forbidden"),
    [
        ("sbp.engine", ("sbp.tracking", "hydra", "omegaconf", "mlflow")),
        ("sbp.data", ("sbp.selection", "sbp.engine")),
    ],
)
def test_the_package_never_imports(package, forbidden):
    for module, names in imported_by(package).items():
        found = {name for name in names if inside(name, *forbidden)}
        assert not found, f"{module} imports {sorted(found)}"


def test_only_tracking_imports_mlflow():
    found = importers("mlflow")
    assert found
    assert all(inside(module, "sbp.tracking") for module in found), found


def test_only_the_config_modules_import_hydra():
    found = importers("hydra", "omegaconf")
    assert "sbp.train" in found
    allowed = ("train", "config", "predict", "sweep")
    assert all(inside(module, *(f"sbp.{name}" for name in allowed)) for module in found), found


def test_only_augmentation_imports_albumentations():
    assert importers("albumentations") == {"sbp.data.augmentation"}


def test_nothing_but_the_command_line_imports_train():
    assert importers("sbp.train") - {"sbp.train"} == {"sbp.cli.main"}


def test_the_report_knows_neither_training_nor_sweeps():
    for module, names in imported_by("sbp.report").items():
        others = ("sbp.engine", "sbp.selection", "sbp.sweep", "sbp.build.trainer")
        found = {name for name in names if inside(name, *others)}
        assert not found, f"{module} imports {sorted(found)}"


def test_importing_selection_loads_no_heavy_library():
    code = "import json, sys, sbp.selection; print(json.dumps(sorted(sys.modules)))"
    output = subprocess.run(
        [sys.executable, "-c", code], cwd=PACKAGE.parent, capture_output=True, text=True, check=True
    ).stdout
    loaded = set(json.loads(output))
    assert "sbp.selection" in loaded
    assert not loaded & {"hydra", "omegaconf", "mlflow", "cv2", "albumentations"}
    assert {name for name in loaded if inside(name, "sbp")} == {
        "sbp",
        *(module for module in MODULES if inside(module, "sbp.selection")),
    }
