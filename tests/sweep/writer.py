"""A process that records a run of its own; test_sweep starts several at once."""

import sys
from pathlib import Path

from sbp.tracking.outbox import Outbox, OutboxTracker
from sbp.tracking.sender import Delivery
from sbp.tracking.store import artifact_location, open_store


def main() -> None:
    output, number = sys.argv[1], int(sys.argv[2])
    folder = Path(output, f"run{number}")
    folder.mkdir()
    tracker = OutboxTracker(Outbox(folder))
    tracker.begin("sbp", artifact_location(output), f"writer {number}", {"n": number})
    tracker.log_params({f"key{i}": number for i in range(150)})
    for step in range(25):
        tracker.log_metrics({f"metric{i}": number + step + i for i in range(40)}, step)
    tracker.status("FINISHED")
    tracker.commit()
    Delivery(folder, lambda: open_store(None, output)).send(tracker.outbox.committed)
