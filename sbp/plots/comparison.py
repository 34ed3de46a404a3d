"""The comparison of runs: mean average precision over compute, time per epoch, predictions side by side."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from sbp.plots.bars_figure import FOOT, PITCH, Bar, draw_bars
from sbp.plots.curve import Curve, by_label
from sbp.plots.curves_figure import (
    PANEL_HEIGHT,
    draw_panels,
    legend_lines,
    line_styles,
    rows_and_columns,
    seeds_text,
)
from sbp.plots.examples import Example, draw_examples, examples_heights
from sbp.plots.style import WIDTH, framed_figure, styled

MAP = "val/map"


def comparison_metrics(defects: Sequence[str], losses: bool = False, key: str = MAP) -> dict[str, str]:
    """The metrics that a comparison shows, and their panels' titles. key: what the runs validate by; with
    another than val/map, it stands for all classes."""
    if key != MAP:
        title = f"validation {key.rpartition('/')[2]}"
        return {key: title} | ({"val/loss": "validation loss (nats)"} if losses else {})
    metrics = {f"val/map/{defect}": f"mAP of {defect}" for defect in defects}
    if len(defects) > 1:
        metrics["val/map"] = "mAP, mean over defects"
    if losses:
        metrics |= {f"val/loss/{defect}": f"validation loss of {defect} (nats)" for defect in defects}
    return metrics


@styled
def comparison_figure(
    curves: Sequence[Curve],
    defects: Sequence[str],
    examples: Sequence[Example] = (),
    *,
    title: str | None = None,
    losses: bool = False,
    examples_notes: Sequence[str] = (),
    key: str = MAP,
) -> Figure:
    """Runs compared over the compute they spent, 1000 pixels wide.

    Panels: mean average precision per defect and their mean, with losses=True the validation loss per defect,
    and seconds per epoch (mean_epoch_s; its ratio to the first label's). Runs of one label are drawn as their
    mean with a band from the lowest to the highest seed. examples adds a strip of images, annotations and
    predictions; examples_notes: paragraphs on how they were chosen and judged. title: null states what is
    compared. key: see comparison_metrics. Raises ValueError without curves or defects.
    """
    if not curves or not defects:
        raise ValueError(f"a comparison needs curves ({len(curves)} given) and defects ({list(defects)})")
    groups = by_label(curves)
    styles = line_styles(groups)
    metrics = comparison_metrics(defects, losses, key)
    about = "mAP: region-level mean average precision on validation images; " if key == MAP else ""
    about += "1 baseline epoch: one full pass. "
    about += seeds_text(groups)
    heights = [PANEL_HEIGHT * rows_and_columns(len(metrics))[0], PITCH * len(groups) + FOOT + 30]
    if examples:
        heights += examples_heights(examples, len(groups), examples_notes)
    title = title or _title(list(groups))
    figure, parts = framed_figure(WIDTH, heights, title, about, legend_lines(styles), list(groups))
    draw_panels(parts[0], groups, styles, metrics, "compute")
    axes = parts[1].add_subplot()
    axes.set_title("time per epoch; in brackets: speed-up over the first bar")
    draw_bars(axes, [_bar(label, members, styles) for label, members in groups.items()], "s")
    if examples:
        draw_examples(parts[2], parts[3], examples, list(groups), defects, examples_notes)
    return figure


def mean_epoch_s(curve: Curve) -> float:
    """Mean seconds per epoch, NaN if none is known.

    A mean, not a median: a stale schedule pays for its scoring pass in a few long epochs. The first epoch,
    which warms up and usually trains on every image, is left out if any other is known.
    """
    seconds = np.diff(np.asarray(curve.seconds, dtype=float), prepend=0.0)
    for part in (seconds[1:], seconds):
        known = part[np.isfinite(part)]
        if len(known):
            return float(known.mean())
    return float("nan")


def _bar(label: str, curves: Sequence[Curve], styles: Mapping[str, dict]) -> Bar:
    seconds = [s for s in map(mean_epoch_s, curves) if np.isfinite(s)]
    return Bar(label, {"epoch": seconds}, colour=styles[label]["color"])


def _title(labels: Sequence[str]) -> str:
    versus = " against ".join(labels)
    if len(versus) > 52:
        versus = f"{labels[0]} against {len(labels) - 1} others"
    return f"Defects learnt per unit of compute: {versus}"
