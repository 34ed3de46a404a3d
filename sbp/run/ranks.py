"""The processes of a distributed run: how they find each other, and how they end.

One process, the leading rank, is the run: it composes the config, records and saves. The others follow: they
are sent the config, and train in step. Either `torchrun` starts all of them, or the leading rank the others,
for trainer.processes, so that any job of a sweep can be distributed.
"""

import contextlib
import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from datetime import timedelta

import torch
from torch import distributed

from sbp.config import Config
from sbp.engine.ranks import ALONE, Ranks
from sbp.errors import TrainingDiverged, UserError
from sbp.utils import signals

LONGEST = timedelta(days=7)
"""How long a rank waits for the others: they are seen to be gone by their closed connections."""
READY = "ready "
"""What a rank that was started says when it is there, with its number."""
GRACE_S = 10.0
"""Seconds that the others are given to end by themselves."""

log = logging.getLogger("sbp")


def torchrun_count() -> int:
    """How many processes torchrun has started, 1 if it has not."""
    return int(os.environ.get("WORLD_SIZE", 1)) if "RANK" in os.environ else 1


def is_follower() -> bool:
    """Whether torchrun has started this process, and not as the leading rank."""
    return torchrun_count() > 1 and int(os.environ["RANK"]) > 0


def check_processes(config: Config) -> int:
    """How many processes the run is to have. Raises UserError where they do not go with the rest."""
    count = max(torchrun_count(), config.trainer.processes)
    if config.trainer.processes not in (1, count):
        raise UserError(
            f"trainer.processes={config.trainer.processes}: torchrun has started {count}; leave it at 1"
        )
    if count == 1:
        return count
    if config.scoring.parallel != "none":
        raise UserError(
            f"scoring.parallel={config.scoring.parallel}: must be none with several processes, which share "
            "the scoring pass"
        )
    gpus = torch.cuda.device_count() if config.trainer.device.startswith("cuda") else count
    local = int(os.environ.get("LOCAL_WORLD_SIZE", count))
    if gpus < local:
        raise UserError(f"{local} processes for trainer.device=cuda: each needs a GPU, there are {gpus} here")
    return count


def settle_device(config: Config, count: int) -> None:
    """Give each process on this machine its own GPU, or its part of the processor's cores."""
    if count == 1:
        return
    if config.trainer.device == "cuda":
        config.trainer.device = f"cuda:{os.environ.get('LOCAL_RANK', 0)}"
    local = int(os.environ.get("LOCAL_WORLD_SIZE", count))
    config.trainer.threads = config.trainer.threads or max(1, torch.get_num_threads() // local)


@contextlib.contextmanager
def leading(config: Config, count: int, resumes: bool) -> Iterator[Ranks]:
    """The leading rank's exchange with the others, who train by `config` until it ends. resumes: whether they
    begin with the state in config.run_dir. Raises UserError, in one line, when one of them is gone."""
    if count == 1:
        yield ALONE
        return
    others: list[subprocess.Popen] = []
    try:
        with lost_ranks_in_one_line(others):
            join_torchrun() if torchrun_count() > 1 else others.extend(start_others(count))
            ranks = Ranks(0, count)
            values = {**asdict(config), "tracking": {**asdict(config.tracking), "name": "none", "uri": None}}
            ranks.told_bytes(json.dumps({"config": values, "resumes": resumes}).encode())
            yield ranks
    finally:
        leave()
        for process in others:
            end(process)


def dismiss() -> None:
    """Tell those whom torchrun has started that there is nothing to train."""
    if torchrun_count() > 1:
        join_torchrun()
        Ranks(0, torchrun_count()).told_bytes(b"")
        leave()


def join_torchrun() -> Ranks:
    """Meet the processes that torchrun has started."""
    with signals.at_once():
        distributed.init_process_group(backend(), timeout=LONGEST)
    return Ranks(distributed.get_rank(), distributed.get_world_size())


def backend() -> str:
    """Where tensors lie decides how they travel."""
    return "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"


def start_others(count: int) -> list[subprocess.Popen]:
    """Start ranks 1 to count - 1 on this machine, and meet them."""
    if sys.platform == "linux":
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # or it asks for the address of the machine's name
    store = distributed.TCPStore("127.0.0.1", 0, count, is_master=True, wait_for_workers=False)
    paths = os.pathsep.join(path or os.getcwd() for path in sys.path)
    others = []
    for rank in range(1, count):
        own = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(count), "PYTHONPATH": paths}
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(store.port)}
        command = [sys.executable, "-m", "sbp.run.follower"]
        environment = {**os.environ, **own, **place}
        # a session of its own: Ctrl-C is for the leading rank
        others.append(
            subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, start_new_session=True)
        )
    try:
        await_others(others, store)
        distributed.init_process_group(backend(), store=store, rank=0, world_size=count, timeout=LONGEST)
    except BaseException:
        for process in others:
            process.kill()
        raise
    return others


def await_others(others: list[subprocess.Popen], store: distributed.Store) -> None:
    """Until all are there. Raises UserError if one ends before."""
    while not store.check([f"{READY}{rank}" for rank in range(1, len(others) + 1)]):
        for rank, process in enumerate(others, 1):
            if process.poll() is not None:
                raise UserError(f"rank {rank} has ended with exit code {process.returncode} before training")
        time.sleep(0.05)


def join_starter() -> Ranks:
    """What a process does that `start_others` has started."""
    rank, count = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    store = distributed.TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), count, False)
    store.set(f"{READY}{rank}", "")
    distributed.init_process_group(backend(), store=store, rank=rank, world_size=count, timeout=LONGEST)
    return Ranks(rank, count)


def leave() -> None:
    """End the exchange; those who wait for this process see that it is gone."""
    if distributed.is_initialized():
        distributed.destroy_process_group()


def end(process: subprocess.Popen) -> None:
    """Wait a little for a process, then kill it."""
    try:
        process.wait(GRACE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextlib.contextmanager
def lost_ranks_in_one_line(others: list[subprocess.Popen]) -> Iterator[None]:
    """Raise UserError for the errors of an exchange that breaks off. others: the processes, where known."""
    try:
        yield
    except TrainingDiverged:  # on all of them at once
        raise
    except RuntimeError as error:
        if not is_broken_exchange(error):
            raise
        raise UserError(
            f"{who_is_gone(others)}: the run ends here; the same command with if_exists=resume goes on from "
            "its last state, with any number of processes"
        ) from None


def is_broken_exchange(error: RuntimeError) -> bool:
    """Whether it says that another rank does not answer any more."""
    said = str(error)
    return isinstance(error, distributed.DistError) or any(
        word in said for word in ("gloo", "Connection closed by peer", "Connection reset by peer", "NCCL")
    )


def who_is_gone(others: list[subprocess.Popen]) -> str:
    """The others that have ended, by rank and exit code, which takes them a moment to have."""
    deadline = time.monotonic() + 2.0
    while others and all(process.poll() is None for process in others) and time.monotonic() < deadline:
        time.sleep(0.05)
    codes = [(rank, process.poll()) for rank, process in enumerate(others, 1)]
    gone = [f"rank {rank} has ended with exit code {code}" for rank, code in codes if code is not None]
    return " and ".join(gone) or "another rank is gone"
