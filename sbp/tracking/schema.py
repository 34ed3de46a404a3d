"""Whether the installed MLflow can use a database, asked before anything is done with it.

MLflow refuses another schema than its own, but only when it opens the store; and it says of a newer one, too,
that it should be upgraded.
"""

import importlib.util
import re
import shlex
from functools import cache
from importlib.metadata import version
from pathlib import Path

from sbp.errors import UserError

DATABASES = ("sqlite", "postgresql", "mysql", "mssql")


def check_schema(uri: str, shown: str) -> None:
    """Raise UserError if the database at `uri` was made by another version of MLflow. shown: the URI for
    messages. What is not there, cannot be reached or holds nothing of MLflow passes, and so do servers."""
    if uri.split(":")[0].split("+")[0] not in DATABASES:
        return
    found, (revisions, head) = _revision(uri, shown), _installed()
    if found is None or head is None or found == head:
        return
    installed = f"the installed MLflow {version('mlflow')} has {head}"
    if found in revisions:
        raise UserError(
            f"{shown}: its schema {found} is that of an older MLflow, {installed}; back it up, then run: "
            f"mlflow db upgrade {shlex.quote(shown)}"
        )
    raise UserError(
        f"{shown}: its schema {found} is that of a newer MLflow, {installed}; install the MLflow that wrote "
        "it, or a newer one, or use another store, as in tracking.uri=sqlite:////FOLDER/mlflow.db"
    )


def _revision(uri: str, shown: str) -> str | None:
    """The schema that a database says it has; None if it says nothing."""
    from sqlalchemy import create_engine, make_url, text
    from sqlalchemy.exc import SQLAlchemyError
    from sqlalchemy.pool import NullPool

    try:
        url = make_url(uri)
        if url.get_backend_name() == "sqlite" and not Path(url.database or "").is_file():
            return None  # to connect would make it
        with create_engine(url, poolclass=NullPool).connect() as connection:
            return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    except ModuleNotFoundError as error:  # the driver
        raise UserError(f"tracking.uri={shown}: needs the package {error.name}") from None
    except (SQLAlchemyError, OSError):
        return None


@cache
def _installed() -> tuple[frozenset[str], str | None]:
    """The schemas that the installed MLflow knows, and its own. Read from the text of its migrations: to
    import them takes as long as to import MLflow."""
    place = importlib.util.find_spec("mlflow")
    folders = place.submodule_search_locations if place else None
    revisions: set[str] = set()
    replaced: set[str] = set()
    for path in Path(folders[0] if folders else "").glob("store/db_migrations/versions/*.py"):
        content = path.read_text(encoding="utf-8")
        for key, value in re.findall(r"^(revision|down_revision)\b[^=\n]*=(.*)$", content, re.MULTILINE):
            (revisions if key == "revision" else replaced).update(re.findall(r"""["'](\w+)["']""", value))
    heads = revisions - replaced
    return frozenset(revisions), heads.pop() if len(heads) == 1 else None
