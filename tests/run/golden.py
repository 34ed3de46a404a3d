"""Golden values: what smoke runs of every method end with. `python -m tests.run.golden` records them.

A run is known by 16 fixed random projections of the change of its weights. They differ a little between
processors and versions of torch, and a lot between methods.
"""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from sbp.config.schemas import names
from sbp.data.dataset import DataSet, open_data
from sbp.run.results_version import RESULTS_VERSION
from tests.conftest import ToySource, make_trainer

FILE = Path(__file__).with_name("golden.json")
PROJECTIONS = 16


DEFAULTS = {"selection": "selective", "staleness": "every_epoch", "aggregation": "max", "loss": "bce"}
DEFAULTS["optimizer"] = "sgd"


def cases() -> Iterator[tuple[str, ...]]:
    """Overrides of each golden run: the defaults, every other built-in option of the groups that decide a
    result, and some more."""
    yield ()
    for group, default in DEFAULTS.items():
        for name in names(group):
            if name in ("stale", "stale_smart"):
                yield (f"staleness={name}", "staleness.every=2")
            elif name == "softmin":  # its own temperature draws as mean does from so small a model
                yield (f"aggregation={name}", "aggregation.temperature=0.005")
            elif name == "auto":  # by its default the same as balanced
                yield ("selection=auto", "selection.choice=2")
            elif name == "cross_entropy":  # which is of images, not of maps; tests/run/test_classification.py
                continue
            elif name not in (default, "reducible"):  # which needs a model that was trained before
                yield (f"{group}={name}",)
    yield ("loss=dice_bce", "loss.of_present=false")
    yield ("upsampling=rare",)
    yield ("defects=common",)
    yield ("scoring.scale_factor=0.5",)
    yield ("augmentation=inspection",)


def name_of(case: tuple[str, ...]) -> str:
    """What the file calls a run."""
    return " ".join(case) or "defaults"


def project(overrides: tuple[str, ...], data: DataSet) -> list[float]:
    """Train a few epochs on `data`; projections of the change of the weights."""
    fixed = ("beta=b2", "budget.compute=3", "evaluation.count=1", "optimizer=sgd", "optimizer.lr=0.01")
    trainer = make_trainer(data, *fixed, *overrides)
    before = _weights(trainer.model)
    for _ in trainer.epochs():
        pass
    change = _weights(trainer.model) - before
    directions = np.random.default_rng(0).standard_normal((PROJECTIONS, len(change)))
    return (directions @ change).tolist()


def _weights(model: torch.nn.Module) -> np.ndarray:
    return np.concatenate([p.detach().double().numpy().ravel() for p in model.parameters()])


def distance(found: list[float], golden: list[float]) -> float:
    """Of two runs: 0 for the same one, about 1.4 for two that have nothing in common."""
    return float(np.linalg.norm(np.subtract(found, golden)) / np.linalg.norm(golden))


def record() -> None:
    """Write the values of the present code; those of this results version that are there stay."""
    recorded = json.loads(FILE.read_text())
    known = recorded["runs"] if recorded["results_version"] == RESULTS_VERSION else {}
    with tempfile.TemporaryDirectory() as folder:
        data = open_data(ToySource(), folder)
        values = {
            name: known[name] if name in known else [round(x, 6) for x in project(case, data)]
            for case in cases()
            for name in [name_of(case)]
        }
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in values.items())
    FILE.write_text(f'{{"results_version": {RESULTS_VERSION}, "runs": {{\n{lines}\n}}}}\n')
    print(f"{len(values)} golden runs of results version {RESULTS_VERSION} in {FILE.name}")


if __name__ == "__main__":
    record()
