"""Sends a run's outbox to MLflow beside the training, which never waits for it."""

import json
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from sbp.tracking.mlflow_run import MlflowRun
from sbp.tracking.outbox import Outbox
from sbp.tracking.store import reason
from sbp.utils.files import FolderHeld, sole_writer, write_atomically

if TYPE_CHECKING:
    from mlflow import MlflowClient

STATE = "tracking.state.json"
SENDING = ".sending"
"""Lock of a run's folder while its outbox is sent."""
FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 30.0

log = logging.getLogger("sbp")


class Delivery:
    """How far an outbox has been sent, kept in a file beside it: each entry arrives once, however often the
    sending was cut off, and whoever sends. open_client: makes the client when there is something to send."""

    def __init__(self, folder: Path, open_client: "Callable[[], MlflowClient]"):
        self.folder, self.open_client = folder, open_client
        self.path = folder / STATE
        self.run: MlflowRun | None = None
        self.run_id: str | None = None
        self.sent = 0
        self.noted: tuple[str | None, int] | None = None
        # The next entry may have arrived before; all may, if the machine went down and took the state along.
        self.in_doubt = self.all_in_doubt = self.anew = False
        self._catch_up()
        if self.sent > Outbox(folder).size:  # of an outbox that is gone
            self.start_over()

    def start_over(self) -> None:
        """Send everything, to a new run."""
        self.run, self.run_id, self.sent, self.anew = None, None, 0, True

    def send(self, stop: int, arrived: Callable[[], None] = lambda: None) -> int:
        """Send what is not sent yet, up to position `stop`; arrived() after each entry. Returns how many were
        sent. Raises what MLflow raises, and FolderHeld while another process sends the same outbox; what had
        arrived by then is noted."""
        with sole_writer(self.folder, SENDING, patience_s=0):
            if self.anew:
                self.anew, self.all_in_doubt = False, True
                self._note()
            else:
                self._catch_up()
            entries = list(Outbox(self.folder).entries(self.sent, stop))
            for entry in entries:
                if self.run is None:
                    if not self.path.exists():
                        self._note()  # from here on, the run may be there without being known
                    self.run = MlflowRun(self.open_client(), self.folder, self.run_id, self._found)
                self.run.send(entry, self.in_doubt or self.all_in_doubt)
                self.in_doubt, self.sent = False, entry.end
                self._note()
                arrived()
        return len(entries)

    def _catch_up(self) -> None:
        """Read how far it is, as others may have sent since."""
        if not self.path.exists():
            return
        try:
            state = json.loads(self.path.read_text())
            known = state["run_id"], state["sent"]
        except (ValueError, KeyError, TypeError):
            self.in_doubt = self.all_in_doubt = True
            return
        if known != self.noted:
            self.run, self.in_doubt = None, True
            self.run_id, self.sent = self.noted = known

    def _found(self, run_id: str) -> None:
        self.run_id = run_id
        self._note()

    def _note(self) -> None:
        write_atomically(self.path, json.dumps({"run_id": self.run_id, "sent": self.sent}), durable=False)
        self.noted = self.run_id, self.sent


class OutboxSender:
    """Sends committed entries from a thread of its own. An unreachable or failing server costs a warning and
    is tried again; `close` says what could not be sent."""

    def __init__(self, delivery: Delivery, patience_s: float):
        self.delivery, self.patience_s = delivery, patience_s
        self.committed = 0
        self.wake = threading.Condition()
        self.closing = False
        self.give_up_at = float("inf")
        self.trouble = ""
        self.thread = threading.Thread(target=self._work, daemon=True, name="tracking")
        self.thread.start()

    def deliver(self, committed: int) -> None:
        """Everything before position `committed` may be sent."""
        with self.wake:
            self.committed = committed
            self.wake.notify()

    def close(self) -> bool:
        """Send the rest, for as long as things arrive; False, and a warning, if something is left."""
        with self.wake:
            self.closing = True
            self.give_up_at = time.monotonic() + self.patience_s
            self.wake.notify()
        while self.thread.is_alive() and time.monotonic() < self.give_up_at:
            self.thread.join(0.1)
        # A thread that still hangs on the network ends with the process; the outbox has it all.
        left = self.delivery.sent < self.committed
        if left:
            log.warning(
                "not everything is in MLflow yet%s; nothing is lost, send the rest with: sbp sync",
                f" ({self.trouble})" if self.trouble else "",
            )
        return not left

    def _work(self) -> None:
        wait = FIRST_WAIT_S
        while True:
            with self.wake:
                while self.delivery.sent >= self.committed and not self.closing:
                    self.wake.wait()
                committed = self.committed
                if self.delivery.sent >= committed:
                    return
            try:
                self.delivery.send(committed, self._arrived)
                self.delivery.sent = max(self.delivery.sent, committed)
                wait = FIRST_WAIT_S
            except Exception as error:  # whatever it is, training does not care
                self._note_trouble(error)
                self.delivery.in_doubt = True
                with self.wake:
                    if self.closing and time.monotonic() + wait > self.give_up_at:
                        return
                    self.wake.wait(wait)
                wait = min(2 * wait, LONGEST_WAIT_S)

    def _arrived(self) -> None:
        self.trouble = ""
        if self.closing:
            if time.monotonic() > self.give_up_at:
                raise TimeoutError("this came too late")  # somebody else may be sending by now
            self.give_up_at = time.monotonic() + self.patience_s

    def _note_trouble(self, error: Exception) -> None:
        if isinstance(error, FolderHeld):
            self.trouble = "sbp sync is sending it"
        elif not self.trouble:
            log.warning(
                "MLflow cannot be reached, training continues and it is tried again: %s", reason(error)
            )
            self.trouble = reason(error, 100)
