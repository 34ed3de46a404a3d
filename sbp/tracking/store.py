"""The MLflow store: where it is, and making a fresh SQLite one without a race. Imports mlflow late (2 s)."""

import contextlib
import logging
import os
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from sbp.errors import UserError
from sbp.tracking.schema import check_schema
from sbp.utils.files import file_lock

log = logging.getLogger("sbp")

if TYPE_CHECKING:
    from mlflow import MlflowClient

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
# What fails is sent again by ourselves: no need to wait for two minutes, seven times.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "15")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")


def local_uri(output_root: str | Path) -> str:
    """The SQLite store of an output folder."""
    return f"sqlite:///{Path(output_root).resolve() / 'mlflow' / 'mlflow.db'}"


def masked(text: str) -> str:
    """A URI, or a text that holds one, without its password: that before the last @, and that of a query."""
    text = re.sub(r"(://[^:/@\s]*):\S*@", r"\1:***@", text)
    return re.sub(r"([?&](?:password|passwd|token)=)[^&\s]+", r"\1***", text, flags=re.IGNORECASE)


def artifact_location(output_root: str | Path) -> str:
    """Where the local store keeps artifacts."""
    return (Path(output_root).resolve() / "mlflow" / "artifacts").as_uri()


def open_store(uri: str | None, output_root: str | Path) -> "MlflowClient":
    """A client of the store at `uri`, or of the output folder's own SQLite store, made if need be. Raises
    UserError for one that cannot be used."""
    check_store(uri, output_root)
    uri = uri or local_uri(output_root)
    if uri.startswith("sqlite:///"):
        _make_sqlite(Path(uri.removeprefix("sqlite:///")))
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # whoever asks is told, in one line
    try:
        return MlflowClient(tracking_uri=uri, registry_uri=uri)
    except MlflowException as error:
        raise UserError(f"tracking.uri={masked(uri)}: {reason(error)}") from None


def check_store(uri: str | None, output_root: str | Path) -> None:
    """Raise UserError if `open_store` could not open it because another version of MLflow made it, or for the
    lack of a database's driver. Quick, and makes nothing."""
    uri = uri or local_uri(output_root)
    check_schema(uri, masked(uri))


def reason(error: Exception, most: int = 200) -> str:
    """What an error says, in one line, without passwords, and without what comes after `most` characters; a
    UserError, which is one line, as it is."""
    text = " ".join(masked(str(error)).split()) or type(error).__name__
    if isinstance(error, UserError) or len(text) <= most:
        return text
    return text[:most].rsplit(" ", 1)[0] + " ..."


def _make_sqlite(path: Path) -> None:
    """Create schema and write-ahead log once: processes that first meet a fresh file together break it, and
    one that is killed while MLflow creates its tables would leave a file that nobody can open."""
    path.parent.mkdir(parents=True, exist_ok=True)
    ready = path.with_suffix(".ready")
    if ready.exists() and path.exists():
        return
    with file_lock(path.with_suffix(".lock")):
        if ready.exists() and path.exists():
            return
        fresh = path if path.exists() else path.with_name(f".{path.name}.new")
        if fresh != path:
            for left in path.parent.glob(f"{fresh.name}*"):
                left.unlink()
        _create_tables(fresh)
        with contextlib.closing(sqlite3.connect(fresh)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
        if fresh != path:
            os.replace(fresh, path)
        ready.touch()


def _create_tables(path: Path) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{path}")
    client.search_experiments(max_results=1)
    engine = getattr(client._tracking_client.store, "engine", None)
    if engine is not None:
        engine.dispose()  # nothing may hold the file when it is renamed


@contextlib.contextmanager
def unreachable_as_warning(consequence: str) -> Iterator[None]:
    """Turn an error of the store into a warning: nothing about it is worth losing a run for."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError) as error:
        log.warning("MLflow cannot be reached, %s: %s", consequence, reason(error))


def experiment_id(client: "MlflowClient", name: str, location: str | None) -> str:
    """The experiment's id; created if need be. location: of its artifacts, None: the server's choice."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return client.create_experiment(name, artifact_location=location)
        except MlflowException:  # another job was faster
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    if found.lifecycle_stage == "deleted":
        raise UserError(f"tracking.experiment={name}: was deleted; choose another name or restore it")
    return found.experiment_id


def ui_link(experiment: str, metric: str, port: int = 5000) -> str:
    """The page of the UI that compares an experiment's runs as charts, the highest by the metric first."""
    return (
        f"http://127.0.0.1:{port}/#/experiments/{experiment}/runs?workflowType=machine_learning"
        f"&compareRunsMode=CHART&orderByKey={quote(f'metrics.`{metric}`', safe='')}&orderByAsc=false"
    )
