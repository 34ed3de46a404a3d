"""How long `sbp report` takes from `make server`: `python -m experiments.bench.server_report [--runs 300]`.

One run is trained at smoke scale against the server. Copies of it, with all its parameters, tags and metrics,
become runs of every arm of every section, with as many seeds as it takes and curves of 40 epochs; the first
seed of each arm has the artifacts that figures need. Then the command is started and timed, imports included.
The runs stay in outputs/bench/server, so that the next call only measures.
"""

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path

import numpy as np

from experiments.bench.run import timed, verdict
from experiments.server.mlflow_server import MlflowServer, check_driver
from experiments.server.postgres import Postgres
from sbp.config.paths import output_root
from sbp.report.measures import arm_key
from sbp.report.sections import Section, chosen_sections
from sbp.tracking.imported import ImportedRun, import_run, remove_unfinished
from sbp.tracking.provenance import provenance
from sbp.tracking.runs import RecordedRun, read_runs
from sbp.tracking.store import experiment_id, open_store
from sbp.utils import signals

EPOCHS = 40
TEMPLATE, EXPERIMENT = "template", "bench"
ARTIFACTS = ("histograms/loss_histograms.npz", "figures/gallery.png")
"""What the report's figures read of a run beside its metrics."""
MOST_S = 30


@dataclass(frozen=True)
class Copy:
    """Which run a copy stands for. sections: those that have the arm at this budget; exclusive: one of them
    wants the machine to itself."""

    arm: str
    budget: str
    seed: int
    sections: tuple[str, ...]
    exclusive: bool

    @property
    def name(self) -> str:
        """Its name in MLflow, which no other copy has."""
        return f"{arm_key(self.arm, self.budget)} / seed {self.seed}"


def copies() -> Iterator[Copy]:
    """Every arm of every section at each of its budgets, seed after seed."""
    holders: dict[tuple[str, str], list[Section]] = {}
    for section in chosen_sections():
        for arm in section.arms:
            for budget in section.budgets:
                holders.setdefault((arm, budget), []).append(section)
    for seed in count():
        for (arm, budget), sections in holders.items():
            exclusive = any(section.exclusive for section in sections)
            yield Copy(arm, budget, seed, tuple(section.name for section in sections), exclusive)


def copied(run: RecordedRun, copy: Copy, number: int) -> ImportedRun:
    """The run as another one: its metrics over EPOCHS epochs, each as often as the run has it, with noise."""
    rng = np.random.default_rng(number)
    length = len(run.values("train/loss"))
    series = {key: _stretched(*run.series(key), length, rng) for key in run.metrics}
    own = {f"section.{name}": copy.arm for name in copy.sections}
    own |= {"fingerprint": f"copy-{number}", "exclusive": str(copy.exclusive).lower()}
    tags = {key: text for key, text in run.tags.items() if not key.startswith(("mlflow.", "section."))}
    mine = {"arm": copy.arm, "label": copy.arm, "seed": str(copy.seed), "budget": copy.budget}
    return ImportedRun(
        name=copy.name,
        started=run.started + 1000 * number,
        params=run.params | mine,
        tags=tags | own,
        series=series,
        times=series["time/work_s"],
    )


def _stretched(
    steps: np.ndarray, values: np.ndarray, length: int, rng: np.random.Generator
) -> dict[int, float]:
    """A metric of a run of `length` epochs, over EPOCHS. What rises goes on rising."""
    if len(steps) == 1:
        return {EPOCHS - 1: float(values[0])}
    at = np.linspace(0, len(steps) - 1, round(EPOCHS * len(steps) / length))
    spread = 0.02 * (np.abs(values).max() - np.abs(values).min())
    noisy = np.interp(at, np.arange(len(values)), values) + np.sort(rng.normal(0, spread, len(at)))
    places = np.linspace(0, EPOCHS - 1, len(at)).round().astype(int)
    return dict(zip(places.tolist(), noisy.tolist(), strict=True))


def template(uri: str) -> RecordedRun:
    """A real run on the server, trained if there is none."""
    client = open_store(uri, output_root())
    condition = "attributes.status = 'FINISHED'"
    if not (known := read_runs(client, TEMPLATE, condition)):
        where = ("tracking=server", f"tracking.uri={uri}", f"tracking.experiment={TEMPLATE}")
        command = [sys.executable, "-m", "sbp.train", "scale=smoke", "arm=focus_all", "trainer.threads=1"]
        subprocess.run([*command, *where], check=True)
        known = read_runs(client, TEMPLATE, condition)
    return known[0]


def fill(database: Postgres, server: MlflowServer, runs: int) -> int:
    """Put the copies there that are missing, past the server, which would take longer; returns how many
    metrics each has."""
    real = template(server.uri)
    client, direct = open_store(server.uri, output_root()), open_store(database.uri, output_root())
    experiment = experiment_id(client, EXPERIMENT, None)
    remove_unfinished(client, experiment)
    there = {run.name for run in read_runs(client, EXPERIMENT)}
    artifacts = [path for name in ARTIFACTS if (path := real.artifact(name))]
    for number, copy in enumerate(islice(copies(), runs)):
        if copy.name not in there:
            made = import_run(direct, experiment, copied(real, copy, number))
            if copy.seed == 0:
                for path in artifacts:
                    client.log_artifact(made, str(path), path.parent.name)
            print(f"\r{number + 1} of {runs} runs", end="", flush=True, file=sys.stderr)
    print(file=sys.stderr)
    return len(real.metrics)


def report(uri: str) -> None:
    """The command, in a process of its own."""
    command = [sys.executable, "-m", "sbp.cli.main", "report", "--uri", uri, "--experiment", EXPERIMENT]
    with tempfile.TemporaryDirectory() as out:
        subprocess.run([*command, "--scale", "smoke", "--out", out], check=True, stdout=subprocess.DEVNULL)


def children_s() -> float:
    """Processor seconds of the commands that have ended: what other work on the machine adds little to."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Start both, fill them, measure, print a line."""
    parser = argparse.ArgumentParser("python -m experiments.bench.server_report")
    parser.add_argument("--runs", type=int, default=300)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--port", type=int, default=5017)
    options = parser.parse_args()
    signals.install()
    check_driver()
    folder = Path(output_root()) / "bench" / "server"
    folder.mkdir(parents=True, exist_ok=True)
    with Postgres(folder) as database, MlflowServer(folder, database.uri, options.port) as server:
        database.start()
        server.start()
        metrics = fill(database, server, options.runs)
        before = children_s()
        seconds = [timed(lambda: report(server.uri)) for _ in range(options.repetitions)]
        used = (children_s() - before) / options.repetitions
    middle = statistics.median(seconds)
    print(
        f"{metrics} metrics a run, {EPOCHS} epochs; {provenance()['hardware.cpu']}:",
        *(f"{s:.1f} s" for s in seconds),
        f"({used:.1f} s of a processor each)",
    )
    name = f"report from a server, {options.runs} runs"
    print(f"{name:42} {middle:.1f} s    at most {MOST_S} s    {verdict(middle <= MOST_S)}")


if __name__ == "__main__":
    main()
