"""Shared fixtures: a tiny data set, composed configs, a trainer on them, finished runs of a real sweep."""

from __future__ import annotations

import copy
import functools
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from filelock import FileLock
from hydra import compose, initialize_config_dir

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"

from sbp.config import Config, register_schemas, validated
from sbp.config.paths import conf_dir, register_resolvers
from sbp.config.preflight import Plan, check_overrides
from sbp.data.dataset import DataSet, open_data
from sbp.data.source import Sample
from tests.processes import ROOT, sbp, start_server

if TYPE_CHECKING:
    from sbp.engine.trainer import Trainer

register_schemas()
register_resolvers()

__all__ = ["ROOT"]
LONG = ("tests/run/test_runs.py", "tests/sweep", "tests/config", "tests/faults", "tests/plugins")


def pytest_configure(config: pytest.Config) -> None:
    """One fork server for all processes that test, started while they import and collect."""
    if getattr(config.option, "numprocesses", None) and not hasattr(config, "workerinput"):
        start_server()
        return
    import torch  # not in the process that only hands tests out

    torch.set_num_threads(1)  # small models: a second thread costs more than it gives


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take long come first, so that no process is left with one while the other has nothing."""
    items.sort(key=lambda item: [not item.nodeid.startswith(start) for start in LONG])


class ToySource:
    """Dark noise with a bright square (scratch, every 5th image) or a bar (broken, every 20th)."""

    name, defects = "toy", ("scratch", "broken")

    def __init__(self, train: int = 60, size: int = 32):
        self.train, self.size = train, size

    def describe(self) -> dict:
        return {"train": self.train, "size": self.size}

    def lengths(self) -> dict[str, int]:
        return {"train": self.train, "val": 20, "test": 20}

    def sample(self, split: str, index: int) -> Sample:
        rng = np.random.default_rng([index, len(split)])
        image = rng.integers(0, 80, (self.size, self.size, 1)).astype(np.uint8)
        masks = np.zeros((self.size, self.size, 2), dtype=np.uint8)
        y, x = rng.integers(0, self.size - 10, 2)
        if index % 5 == 0:
            masks[y : y + 6, x : x + 6, 0] = 1
        if index % 20 == 3:
            masks[y : y + 2, x : x + 10, 1] = 1
        image[masks.any(axis=2)] += 150
        return Sample(image, masks, masks, f"{split}_{index}")


@pytest.fixture(scope="session")
def toy_data(tmp_path_factory) -> DataSet:
    return open_data(ToySource(), tmp_path_factory.mktemp("cache"))


def make_config(*overrides: str, run_dir: str = "unused") -> Config:
    """A validated config at smoke scale."""
    config = copy.deepcopy(_composed(overrides, _surroundings()))
    config.run_dir = run_dir
    return config


def plan_of(*arguments: str) -> Plan:
    """The jobs that a command line starts."""
    return copy.deepcopy(_checked(arguments, _surroundings()))


def _surroundings() -> tuple[str | None, ...]:
    """What a config takes from the environment."""
    return tuple(os.environ.get(name) for name in ("SBP_OUTPUT", "SBP_JOBS", "MLFLOW_TRACKING_URI"))


# Hydra takes 0.1 s to compose a config, and many tests want the same ones.


@functools.cache
def _composed(overrides: tuple[str, ...], _: tuple[str | None, ...]) -> Config:
    with initialize_config_dir(conf_dir(), version_base="1.3"):
        return validated(compose("config", overrides=["scale=smoke", "run_dir=unused", *overrides]))


@functools.cache
def _checked(arguments: tuple[str, ...], _: tuple[str | None, ...]) -> Plan:
    return check_overrides(arguments)


def make_trainer(data: DataSet, *overrides: str) -> Trainer:
    """A trainer on `data`, freshly seeded."""
    from sbp.build import trainer as build
    from sbp.seeding import seed_everything
    from sbp.utils.progress import Progress

    config = make_config("model.encoder_depth=3", "model.decoder_channels=[16,8,8]", *overrides)
    seed_everything(config.seed)
    model = build.build_model(config, len(data.defects))
    return build.build_trainer(config, model, data, Progress())


@pytest.fixture(scope="session")
def sweep(tmp_path_factory, worker_id) -> Path:
    """The output folder of the README's sweep, two by two, started in another folder.

    The processes of a session share it: only read it.
    """
    shared = tmp_path_factory.getbasetemp()
    if worker_id != "master":
        shared = shared.parent
    output, elsewhere, complete = (shared / name for name in ("sweep", "elsewhere", "sweep.complete"))
    with FileLock(shared / "sweep.lock"):
        if not complete.exists():
            elsewhere.mkdir(exist_ok=True)
            arguments = ("-m", "aggregation=max,mean", "beta=b2,b8", "scale=smoke")
            done = sbp(*arguments, output=output, cwd=elsewhere)
            assert done.returncode == 0, done.stderr
            assert list(elsewhere.iterdir()) == []  # nothing is left where one happens to stand
            complete.touch()
    return output
