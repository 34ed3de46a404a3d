"""Systems that are not POSIX: imports, locks, paths and configs need nothing of it."""

import subprocess
import sys

import pytest

from tests.conftest import ROOT

WITHOUT_POSIX = """
import importlib, importlib.abc, os, pkgutil, signal, sys
for name in {libraries}:  # they have versions for each system
    importlib.import_module(name)

HIDDEN = {"fcntl", "grp", "posix", "pwd", "resource", "termios"}

class Hide(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name in HIDDEN:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Hide())
for name in [name for name in sys.modules if name in HIDDEN or name.split(".")[0] == "filelock"]:
    del sys.modules[name]
for name in ("fork", "register_at_fork", "sched_getaffinity", "getuid", "geteuid", "killpg", "setsid"):
    delattr(os, name)
for name in ("SIGKILL", "SIGHUP", "SIGALRM", "SIGUSR1", "SIGCHLD", "alarm", "setitimer", "pthread_kill"):
    delattr(signal, name)
"""
IMPORT_ALL = """
import sbp
for module in pkgutil.walk_packages(sbp.__path__, "sbp."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
        print(module.name)
"""
USE = """
from pathlib import Path
from sbp.config.paths import conf_dir, output_root, parallel_jobs
from sbp.config.preflight import check_overrides
from sbp.train import signals
from sbp.utils.files import FolderHeld, is_held, sole_writer, write_atomically

folder = Path(sys.argv[1])
signals.install()
with sole_writer(folder):
    assert is_held(folder)
    try:
        with sole_writer(folder, patience_s=0.1):
            raise AssertionError("held twice")
    except FolderHeld as error:
        assert f"(process {os.getpid()})" in str(error), error
    write_atomically(folder / "file", "text")
assert not is_held(folder)
assert Path(conf_dir()).is_dir() and Path(output_root()).is_absolute() and parallel_jobs() > 0
(job,) = check_overrides(["beta=b2"]).jobs
assert job.config.beta.value == 2
print("all done")
"""


LIBRARIES = ["mlflow", "torch", "hydra", "albumentations", "cv2", "matplotlib.pyplot"]


def run(code: str, libraries: list[str], *arguments: str) -> list[str]:
    """What the code prints in a process where libraries are imported and POSIX is hidden afterwards."""
    start = WITHOUT_POSIX.replace("{libraries}", repr(libraries))
    command = [sys.executable, "-W", "ignore", "-c", start + code, *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.split("\n")[:-1]


@pytest.mark.slow
def test_every_module_is_imported_without_posix():
    names = run(IMPORT_ALL, LIBRARIES)
    files = {path.relative_to(ROOT).with_suffix("") for path in (ROOT / "sbp").rglob("*.py")}
    modules = {".".join(path.parts).removesuffix(".__init__") for path in files if path.name != "__main__"}
    assert set(names) == modules - {"sbp"}


def test_locks_paths_and_configs_work_without_posix(tmp_path):
    assert run(USE, ["hydra", "rich.progress"], str(tmp_path)) == ["all done"]
