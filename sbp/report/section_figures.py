"""The figures of a section of the report, as its file describes them."""

import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np
from matplotlib.figure import Figure

from sbp.metrics.loss_histogram import LossHistogram
from sbp.plots.bars_figure import Bar, bars_figure
from sbp.plots.budgets_figure import budgets_figure
from sbp.plots.composition_figure import composition_figure
from sbp.plots.curve import Axis, Curve
from sbp.plots.curves_figure import curves_figure
from sbp.plots.histogram_figure import ridge_figure
from sbp.plots.similarity_figure import similarity_figure
from sbp.plots.style import DPI, styled
from sbp.report.measures import BUDGETS, arm_key, budget_of, ran_exclusively
from sbp.report.page import Picture
from sbp.report.run_curves import run_curve
from sbp.report.section_file import FigureSpec
from sbp.tracking.runs import RecordedRun

Arms = Mapping[str, Mapping[int, RecordedRun]]
MakeFigure = Callable[[], Figure]
Made = tuple[MakeFigure | Path, str, str]
"""How a figure is made, or its PNG file; the end of its name; what it shows."""
WORK = {"scoring": "scoring", "training": "training", "waiting for data": "data"}


def section_pictures(
    name: str,
    figures: Sequence[FigureSpec],
    arms: Arms,
    labels: Mapping[str, str],
    roles: Mapping[str, str],
) -> Iterator[tuple[MakeFigure | Path, Picture]]:
    """Every figure of the section `name` that its runs can give: what `render` takes, and the picture without
    its bytes. arms: `arm_key` -> seed -> run; labels: likewise; roles: the defects' names for {common} and
    {rare}."""
    for number, spec in enumerate(figures, 1):
        budgets = BUDGETS if spec.kind == "budgets" else [spec.budget]
        keys = [arm_key(arm, budget) for budget in budgets for arm in spec.arms]
        keys = keys or [key for key in arms if budget_of(key) in budgets]
        chosen = {key: arms[key] for key in keys if arms.get(key)}
        for made, suffix, alt in KINDS[spec.kind](spec, chosen, labels, roles) if chosen else ():
            stem = f"{name}-{number}-{spec.kind}{suffix}".replace("_", "-")
            yield made, Picture(stem, spec.title, spec.caption, alt, b"")


@styled
def render(made: MakeFigure | Path) -> tuple[bytes, bytes | None]:
    """PNG and SVG of a figure, the same bytes for the same figure; of a PNG file, no SVG."""
    if isinstance(made, Path):
        return made.read_bytes(), None
    figure = made()
    png, svg = io.BytesIO(), io.BytesIO()
    figure.savefig(
        png, format="png", dpi=1.6 * DPI, metadata={"Software": None},
        pil_kwargs={"compress_level": 2},  # at the usual 6, compression takes a third of the time
    )  # fmt: skip
    figure.savefig(svg, format="svg", metadata={"Date": None})
    return png.getvalue(), svg.getvalue()


def figure_metrics(spec: FigureSpec, run: RecordedRun, roles: Mapping[str, str]) -> list[str]:
    """The metrics of a run that a figure shows, beside its axis; roles: as of `section_pictures`."""
    if spec.kind == "bars":
        return [f"time/{part}_s" for part in WORK.values()]
    if spec.kind == "composition":
        shares = ["healthy", "several", *run.defects]
        return ["train/kept_fraction", *(f"train/share/{name}" for name in shares)]
    if spec.kind == "similarity":
        return [key for key in run.metrics if key.startswith(("gradients/cosine/", "gradients/sign/"))]
    return list(_titles(spec, roles))


def _titles(spec: FigureSpec, roles: Mapping[str, str]) -> dict[str, str]:
    return {key.format(**roles): title.format(**roles) for key, title in spec.metrics.items()}


def _curves(spec: FigureSpec, arms: Arms, labels, roles) -> list[Made]:
    metrics = _titles(spec, roles)
    curves = _curves_of(arms, labels, metrics)
    figure = partial(curves_figure, curves, metrics, cast(Axis, spec.x), title=spec.title, log_y=spec.log)
    return [(figure, "", f"{', '.join(metrics.values())} over {spec.x}")]


def _budgets(spec: FigureSpec, arms: Arms, labels, roles) -> list[Made]:
    metrics = _titles(spec, roles)
    curves = {
        budget: _curves_of(
            {key: runs for key, runs in arms.items() if budget_of(key) == budget}, labels, metrics
        )
        for budget in dict.fromkeys(map(budget_of, arms))
    }
    figure = partial(budgets_figure, curves, metrics, cast(Axis, spec.x), title=spec.title)
    return [(figure, "", f"{', '.join(metrics.values())} over {spec.x}, at each budget")]


def _curves_of(arms: Arms, labels: Mapping[str, str], metrics: Iterable[str]) -> list[Curve]:
    return [run_curve(run, metrics, labels[arm]) for arm, runs in arms.items() for run in runs.values()]


def _bars(spec: FigureSpec, arms: Arms, labels, roles) -> list[Made]:
    first = next(iter(arms))
    reference = _epoch_cost(arms[first])
    bars = []
    for arm, runs in arms.items():
        exclusive = [run for run in runs.values() if ran_exclusively(run)]
        parts = {
            name: [float(np.mean(run.values(f"time/{key}_s")[1:])) for run in exclusive]
            for name, key in WORK.items()
        }
        bars.append(Bar(labels[arm], parts, None if arm == first else reference / _epoch_cost(runs)))
    figure = partial(bars_figure, bars, title=spec.title, unit="s")
    return [(figure, "", "seconds per epoch of each run, with speed-ups")]


def _epoch_cost(runs: Mapping[int, RecordedRun]) -> float:
    """Mean baseline epochs per epoch, the first epoch left out, which trains on everything."""
    costs = [run.series("cost/baseline_epochs") for run in runs.values()]
    known = [(y[-1] - y[0]) / (steps[-1] - steps[0]) for steps, y in costs if len(y) > 1]
    return float(np.mean(known)) if known else float("nan")


def _composition(spec: FigureSpec, arms: Arms, labels, roles) -> list[Made]:
    # runs that are taken over from results.csv do not have all series
    known = {
        arm: whole
        for arm, runs in arms.items()
        if (whole := {seed: run for seed, run in runs.items() if "train/share/healthy" in run.metrics})
    }
    if not known:
        return []
    run = _some_run(known)
    curves = _curves_of(known, labels, figure_metrics(spec, run, roles))
    figure = partial(composition_figure, curves, run.defects, title=spec.title)
    return [(figure, "", "what each run trained on, epoch by epoch")]


def _similarity(spec: FigureSpec, arms: Arms, labels, roles) -> list[Made]:
    keys = figure_metrics(spec, _some_run(arms), roles)
    if not keys:
        return []
    figure = partial(similarity_figure, _curves_of(arms, labels, keys), title=spec.title)
    return [(figure, "", "similarity of gradients over epochs")]


def _ridge(spec: FigureSpec, arms: Arms, labels, roles) -> list[Made]:
    made: list[Made] = []
    for arm, path in _artifacts(arms, "histograms/loss_histograms.npz"):
        histogram = LossHistogram.load(path)
        for scheme in spec.schemes or histogram.schemes:
            counts, edges = histogram.counts[scheme], histogram.edges
            figure = partial(ridge_figure, histogram.epochs, counts, edges, histogram.defects, scheme)
            alt = f"{labels[arm]}: histograms of the {scheme} score, one ridge per epoch"
            made.append((figure, f"-{arm}-{scheme}", alt))
    return made


def _gallery(spec: FigureSpec, arms: Arms, labels, roles) -> list[Made]:
    found = _artifacts(arms, "figures/gallery.png")
    return [(path, f"-{arm}", f"{labels[arm]}: the images of the highest loss") for arm, path in found]


def _artifacts(arms: Arms, name: str) -> list[tuple[str, Path]]:
    """An artifact of the first seed of each arm that has it: a run that was trained elsewhere has none."""
    paths = {arm: (runs[seed].artifact(name) for seed in sorted(runs)) for arm, runs in arms.items()}
    found = [(arm, next((path for path in of_arm if path), None)) for arm, of_arm in paths.items()]
    return [(arm, path) for arm, path in found if path is not None]


def _some_run(arms: Arms) -> RecordedRun:
    return next(iter(next(iter(arms.values())).values()))


KINDS: dict[str, Callable[..., list[Made]]] = {
    "curves": _curves,
    "budgets": _budgets,
    "bars": _bars,
    "composition": _composition,
    "similarity": _similarity,
    "ridge": _ridge,
    "gallery": _gallery,
}
