"""The figures of a section of the report, as its file describes them."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from sbp.metrics.loss_histogram import LossHistogram
from sbp.plots.bars_figure import Bar, bars_figure
from sbp.plots.composition_figure import composition_figure
from sbp.plots.curves_figure import curves_figure
from sbp.plots.histogram_figure import ridge_figure
from sbp.plots.similarity_figure import similarity_figure
from sbp.report.curves import Curve
from sbp.report.page import Picture
from sbp.report.render import Draw, Drawing, MakeFigure
from sbp.report.run_curves import EVERY_EPOCH
from sbp.report.section_file import FigureSpec, Section
from sbp.tracking.runs import RecordedRun

Arms = Mapping[str, Mapping[int, RecordedRun]]
Drawn = tuple[MakeFigure | None, Picture]
"""How a figure is made, and what it is called; None with a picture that is complete."""


def section_pictures(
    section: Section, arms: Arms, labels: Mapping[str, str], roles: Mapping[str, str], draw: Draw
) -> list[Drawing]:
    """Every figure of a section that its runs can give. arms: arm -> seed -> run; labels: by arm; roles:
    the defects' names for {common} and {rare}; draw: see Renderer."""
    drawings = []
    for number, spec in enumerate(section.figures):
        chosen = {arm: arms[arm] for arm in (spec.arms or section.arms) if arms.get(arm)}
        if chosen:
            stem = f"{section.name}-{number + 1}-{spec.kind}"
            for figure, about in _KINDS[spec.kind](spec, chosen, labels, roles, stem):
                drawings.append(Drawing(about) if figure is None else draw(figure, about))
    return drawings


def _curves(spec: FigureSpec, arms: Arms, labels, roles, stem: str) -> list[Drawn]:
    metrics = {key.format(**roles): title.format(**roles) for key, title in spec.metrics.items()}
    curves = _curves_of(arms, labels, metrics)
    figure = partial(curves_figure, curves, metrics, spec.x, title=spec.title, log_y=spec.log)
    return [_drawn(figure, stem, spec, f"{', '.join(metrics.values())} over {spec.x}")]


def _curves_of(arms: Arms, labels: Mapping[str, str], metrics) -> list[Curve]:
    return [section_curve(run, metrics, labels[arm]) for arm, runs in arms.items() for run in runs.values()]


def section_curve(run: RecordedRun, metrics: Iterable[str], label: str) -> Curve:
    """The named metrics of a run over epochs, compute and seconds; NaN where not measured."""
    return Curve(
        label=label,
        seed=run.seed,
        epoch=run.series(EVERY_EPOCH)[0].astype(int),
        cost=run.at_steps_of(EVERY_EPOCH, "cost/baseline_epochs"),
        seconds=run.at_steps_of(EVERY_EPOCH, "time/work_s"),
        values={key: run.at_steps_of(EVERY_EPOCH, key) for key in metrics},
    )


def _bars(spec: FigureSpec, arms: Arms, labels, roles, stem: str) -> list[Drawn]:
    first = next(iter(arms))
    reference = _epoch_cost(arms[first])
    bars = []
    for arm, runs in arms.items():
        alone = [run for run in runs.values() if run.tags.get("alone") == "true"]
        parts = {
            name: [float(np.mean(run.values(f"time/{key}_s")[1:])) for run in alone]
            for name, key in (("scoring", "scoring"), ("training", "training"), ("waiting for data", "data"))
        }
        ideal = None if arm == first else reference / _epoch_cost(runs)
        bars.append(Bar(labels[arm], parts, ideal))
    figure = partial(bars_figure, bars, title=spec.title, unit="s")
    return [_drawn(figure, stem, spec, "seconds per epoch of each run, with speed-ups")]


def _epoch_cost(runs: Mapping[int, RecordedRun]) -> float:
    """Mean baseline epochs per epoch, the first epoch left out, which trains on everything."""
    costs = [run.values("cost/baseline_epochs") for run in runs.values()]
    known = [(cost[-1] - cost[0]) / (len(cost) - 1) for cost in costs if len(cost) > 1]
    return float(np.mean(known)) if known else float("nan")


def _composition(spec: FigureSpec, arms: Arms, labels, roles, stem: str) -> list[Drawn]:
    defects = next(iter(next(iter(arms.values())).values())).defects
    keys = ["train/kept_fraction", "train/share/healthy", "train/share/several"]
    keys += [f"train/share/{defect}" for defect in defects]
    figure = partial(composition_figure, _curves_of(arms, labels, keys), defects, title=spec.title)
    return [_drawn(figure, stem, spec, "what each run trained on, epoch by epoch")]


def _similarity(spec: FigureSpec, arms: Arms, labels, roles, stem: str) -> list[Drawn]:
    some = next(iter(next(iter(arms.values())).values()))
    keys = [key for key in some.metrics if key.startswith(("gradients/cosine/", "gradients/sign/"))]
    if not keys:
        return []
    figure = partial(similarity_figure, _curves_of(arms, labels, keys), title=spec.title)
    return [_drawn(figure, stem, spec, "similarity of gradients over epochs")]


def _ridge(spec: FigureSpec, arms: Arms, labels, roles, stem: str) -> list[Drawn]:
    drawn: list[Drawn] = []
    for arm, runs in arms.items():
        run = runs[min(runs)]
        path = run.artifact("histograms/loss_histograms.npz")
        if path is None:
            continue
        histogram = LossHistogram.load(path)
        for scheme in spec.schemes or histogram.schemes:
            figure = partial(
                ridge_figure,
                histogram.epochs,
                histogram.counts[scheme],
                histogram.edges,
                histogram.defects,
                scheme,
            )
            about = f"{labels[arm]}: histograms of the {scheme} score, one ridge per epoch"
            drawn.append(_drawn(figure, f"{stem}-{arm}-{scheme}", spec, about))
    return drawn


def _gallery(spec: FigureSpec, arms: Arms, labels, roles, stem: str) -> list[Drawn]:
    drawn: list[Drawn] = []
    for arm, runs in arms.items():
        path = runs[min(runs)].artifact("figures/gallery.png")
        if path is not None:
            about = f"{labels[arm]}: the images of the highest loss"
            name = f"{stem}-{arm}".replace("_", "-")
            drawn.append((None, Picture(name, spec.title, spec.caption, about, Path(path).read_bytes())))
    return drawn


_KINDS: dict[str, Callable[..., list[Drawn]]] = {
    "curves": _curves,
    "bars": _bars,
    "composition": _composition,
    "similarity": _similarity,
    "ridge": _ridge,
    "gallery": _gallery,
}


def _drawn(figure: MakeFigure, stem: str, spec: FigureSpec, alt: str) -> Drawn:
    return figure, Picture(stem.replace("_", "-"), spec.title, spec.caption, alt, b"")
