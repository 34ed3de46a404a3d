"""Which way imports run: the contracts in pyproject.toml, and what they cannot say of libraries."""

import json
import subprocess
import sys

import grimp
import pytest

from tests.conftest import ROOT


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("sbp", include_external_packages=True, cache_dir=None)


def test_the_contracts_hold():
    # in a process of its own: it configures logging
    lint = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()"]
    done = subprocess.run([*lint, "--no-cache", "--no-logo"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert " 0 broken" in done.stdout


@pytest.mark.parametrize(
    ("leaf", "libraries"),
    [
        ("selection", {"numpy", "torch"}),
        ("metrics", {"cv2", "numpy", "torch"}),
        ("plots", {"cv2", "matplotlib", "numpy"}),
        ("plugins", set()),
        ("seeding", {"numpy", "torch"}),
        ("utils", {"filelock", "rich"}),
        ("errors", set()),
    ],
)
def test_a_leaf_needs_few_libraries(graph, leaf, libraries):
    modules = {f"sbp.{leaf}", *graph.find_descendants(f"sbp.{leaf}")}
    imported = {name for module in modules for name in graph.find_modules_directly_imported_by(module)}
    outside = {name.split(".")[0] for name in imported} - sys.stdlib_module_names - {"sbp"}
    assert outside <= libraries


def loaded_by(code: str) -> set[str]:
    """The modules that a fresh process has after running `code`."""
    code += "\nimport json, sys; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


def test_importing_selection_loads_no_heavy_library():
    loaded = loaded_by("import sbp.selection")
    assert not loaded & {"hydra", "omegaconf", "mlflow", "cv2", "albumentations"}
    rooms = {name.split(".")[1] for name in loaded if name.startswith("sbp.")}
    assert rooms <= {"selection", "plugins", "seeding", "errors"}


def test_composing_a_config_imports_neither_torch_nor_mlflow():
    loaded = loaded_by("import sbp.train; sbp.train.check_overrides(['beta=b2'])")
    assert "sbp.config.preflight" in loaded
    assert not loaded & {"torch", "mlflow", "albumentations", "rich", "ray", "submitit"}
