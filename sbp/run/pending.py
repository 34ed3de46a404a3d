"""Runs that have begun and not finished: where to find the one to resume."""

import contextlib
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

from sbp.run.state import has_state
from sbp.utils.files import is_held, write_atomically


def _marks(output_root: str | Path) -> Path:
    return Path(output_root) / "unfinished"


@contextlib.contextmanager
def unfinished(output_root: str | Path, identity: str, folder: Path) -> Iterator[None]:
    """Mark the run in `folder` as begun; the mark goes when the block ends well."""
    place = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:12]
    mark = _marks(output_root) / f"{identity}-{place}.json"
    mark.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(mark, json.dumps({"run_dir": str(folder.resolve())}))
    yield
    mark.unlink(missing_ok=True)


def interrupted_runs(output_root: str | Path, identity: str) -> Iterator[Path]:
    """Folders of interrupted runs with this fingerprint that no process works on, newest first. Marks of runs
    that did not come far enough to be resumed are removed."""
    marks = _marks(output_root).glob(f"{identity}-*.json")
    for mark in sorted(marks, key=lambda path: path.stat().st_mtime, reverse=True):
        with contextlib.suppress(OSError, ValueError, KeyError):
            folder = Path(json.loads(mark.read_text())["run_dir"])
            if is_held(folder):
                continue
            if has_state(folder):
                yield folder
            else:
                mark.unlink()
