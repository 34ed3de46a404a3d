"""Sending what runs could not send to MLflow while they ran."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sbp.errors import UserError
from sbp.tracking.outbox import NAME, Outbox, OutboxTracker
from sbp.tracking.runs import is_deleted
from sbp.tracking.sender import Delivery
from sbp.tracking.store import check_store, masked, open_store, reason
from sbp.utils.files import FolderHeld, is_held, sole_writer

if TYPE_CHECKING:
    from mlflow import MlflowClient

LOCAL = "the local store"


def sync(output_root: str | Path, folder: str | Path | None = None, uri: str | None = None) -> Iterator[str]:
    """Send the rest of every run's outbox below `folder` (None: the output folder); yields a line per run
    that had something to send.

    Runs that are being written to, and those deleted in MLflow, are left alone. A run whose process is gone
    is closed as KILLED. uri: the server, for runs whose address is not known, as its password is not kept.
    Raises UserError after the last one: a line for each damaged outbox, for each server that refused or needs
    its password, and for each database of another version of MLflow, even if it has everything.
    """
    troubles: dict[str, str] = {}  # a server that did not answer is not asked again
    checked: set[str] = set()

    def usable(address: str, uri: str | None) -> bool:
        if address not in checked:
            checked.add(address)
            try:
                check_store(uri, output_root)
            except UserError as error:
                troubles[address] = str(error)
        return address not in troubles

    usable(LOCAL, None)
    if uri:
        usable(masked(uri), uri)
    for path in sorted(Path(folder or output_root).rglob(NAME)):
        run = path.parent
        if is_held(run):
            yield f"{run}: is running, it sends for itself"
            continue
        address = str(run)
        try:
            outbox = Outbox(run)
            first = next(outbox.entries(), None)
            if first is None:
                continue
            address = first.content["tags"].get("tracking.uri", LOCAL)
            if address in troubles or not ("***" in address or usable(address, address)):
                continue
            line = _send_rest(outbox, first.content["tags"], uri, output_root)
            if line:
                yield f"{run}: {line}"
        except FolderHeld:
            yield f"{run}: is being sent already"
        except UserError as error:
            troubles[address] = str(error)
    if troubles:
        raise UserError("\n".join(troubles.values()))


def _send_rest(outbox: Outbox, tags: dict[str, str], uri: str | None, output_root: str | Path) -> str:
    """What was done about the run; empty if nothing was left to send."""
    from mlflow.exceptions import MlflowException

    run = outbox.path.parent
    if outbox.status in (None, "RUNNING"):
        outbox = _close(run)
    delivery = Delivery(run, partial(_client, tags, uri, output_root))
    if next(outbox.entries(delivery.sent), None) is None:
        return ""
    try:
        if delivery.run_id and is_deleted(delivery.open_client(), delivery.run_id):
            return "was deleted in MLflow, left alone"
        entries = delivery.send(outbox.committed)
    except (MlflowException, OSError) as error:
        raise UserError(f"{run}: MLflow took not everything, try again later: {reason(error)}") from None
    return f"{entries} entries sent" if entries else ""


def _client(tags: dict[str, str], uri: str | None, output_root: str | Path) -> "MlflowClient":
    known = tags.get("tracking.uri")
    if known is None:
        return open_store(None, output_root)
    if uri is not None and masked(uri) != known:
        raise UserError(f"--uri {masked(uri)}: the run belongs to {known}")
    if uri is None and "***" in known:
        raise UserError(
            f"{known}: its password is not kept; give the address as --uri or MLFLOW_TRACKING_URI"
        )
    return open_store(uri or known, output_root)


def _close(run: Path) -> Outbox:
    """Record KILLED for a run whose process is gone. Raises FolderHeld if it has been resumed by now."""
    with sole_writer(run):
        outbox = Outbox(run)
        if outbox.status in (None, "RUNNING"):
            outbox.rollback()
            tracker = OutboxTracker(outbox)
            tracker.status("KILLED")
            tracker.commit()
    return outbox
