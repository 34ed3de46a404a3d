"""Fresh stores in no time: MLflow takes a second to create its tables, so most tests get a copy of them."""

import shutil
from pathlib import Path

import pytest

from sbp.tracking import store


@pytest.fixture(scope="session")
def tables(tmp_path_factory) -> Path:
    """A file that holds MLflow's tables and nothing in them."""
    path = tmp_path_factory.mktemp("tables") / "empty.db"
    store._create_tables(path)
    return path


@pytest.fixture(scope="package", autouse=True)
def quick_stores(tables):
    """open_store copies the tables where it would create them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "_create_tables", lambda path: shutil.copyfile(tables, path))
        yield
