"""Which jobs of a sweep or grid still have to be trained."""

from collections.abc import Iterable

from sbp.config import Config
from sbp.run.fingerprint import fingerprint
from sbp.tracking.runs import find_finished
from sbp.tracking.store import open_store, unreachable_as_warning


def remaining(configs: Iterable[Config]) -> list[Config]:
    """The configs whose runs have not finished yet, each run once however often it is wanted.

    Jobs run in the given order: a run that had the machine to itself serves later ones that need not, but not
    the other way round. Without tracking nothing is known, and everything remains.
    """
    left: dict[str, Config] = {}
    for config in configs:
        identity = fingerprint(config)
        planned = left.get(identity)
        if planned is not None and (planned.exclusive or not config.exclusive):
            continue
        if config.if_exists == "retrain" or not _finished(config, identity):
            left[identity + ("+" if planned is not None else "")] = config
    return list(left.values())


def _finished(config: Config, identity: str) -> bool:
    if config.tracking.name == "none":
        return False
    client = open_store(config.tracking.uri, config.output_root)
    with unreachable_as_warning("runs that finished before are trained again"):
        return find_finished(client, config.tracking.experiment, identity, config.exclusive) is not None
    return False
