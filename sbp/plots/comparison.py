"""The comparison of runs: mean average precision over compute, time per epoch, predictions side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

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
from sbp.plots.pictures import (
    GAP,
    annotation_picture,
    cell_size,
    draw_rows,
    fit_image,
    mask_keys,
    prediction_picture,
    rows_height,
)
from sbp.plots.style import MARGIN, WIDTH, add_legend, framed_figure, styled

DENSE = 2
"""Pixels of a picture per pixel of the figure: crisp in files of scale 2."""


@dataclass(frozen=True)
class Example:
    """One image with what each run makes of it.

    image: (H, W, C) uint8; annotation: (H, W, D), 0 or 1; predictions: by label of every run, (H, W, D)
    probabilities.
    """

    image: np.ndarray
    annotation: np.ndarray
    predictions: Mapping[str, np.ndarray]


def comparison_metrics(defects: Sequence[str], losses: bool = False) -> dict[str, str]:
    """The metrics that a comparison shows, and their panels' titles."""
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
) -> Figure:
    """Runs compared over the compute they spent, 1000 pixels wide.

    Panels: mean average precision per defect and their mean, with losses=True the validation loss per defect,
    and seconds per epoch (mean_epoch_s; its ratio to the first label's). Runs of one label are drawn as their
    mean with a band from the lowest to the highest seed. examples adds a strip of images, annotations and
    predictions. title: null states what is compared. Raises ValueError without curves or defects.
    """
    if not curves or not defects:
        raise ValueError(f"a comparison needs curves ({len(curves)} given) and defects ({list(defects)})")
    groups = by_label(curves)
    styles = line_styles(groups)
    metrics = comparison_metrics(defects, losses)
    about = "mAP: region-level mean average precision on validation images; 1 baseline epoch: one full pass. "
    about += seeds_text(groups)
    side = (WIDTH - 2 * MARGIN + GAP) // (2 + len(groups)) - GAP
    sizes = [cell_size(example.image, side**2, side) for example in examples]
    rows = [_example_row(e, list(groups), size) for e, size in zip(examples, sizes, strict=True)]
    heights = [PANEL_HEIGHT * rows_and_columns(len(metrics))[0], PITCH * len(groups) + FOOT + 30]
    heights += [34, rows_height(sizes)] if rows else []
    title = title or _title(list(groups))
    figure, parts = framed_figure(WIDTH, heights, title, about, legend_lines(styles), list(groups))
    draw_panels(parts[0], groups, styles, metrics, "compute")
    axes = parts[1].add_subplot()
    axes.set_title("time per epoch; in brackets: speed-up over the first bar")
    draw_bars(axes, [_bar(label, members, styles) for label, members in groups.items()], "s")
    if rows:
        parts[2].text(MARGIN / WIDTH, 0.5, "Examples", va="center", fontsize=10, fontweight="bold")
        add_legend(parts[2], *mask_keys(defects), "center")
        draw_rows(parts[3], rows, sizes, ["image", "annotation", *groups])
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


def _example_row(example: Example, labels: Sequence[str], size: tuple[int, int]) -> list[np.ndarray]:
    """The image, its annotation, and the prediction under each label."""
    image, dense = example.image, (DENSE * size[0], DENSE * size[1])
    row = [fit_image(image, dense), annotation_picture(image, example.annotation, dense, dense=DENSE)]
    return row + [prediction_picture(image, example.predictions[name], dense, DENSE) for name in labels]


def _title(labels: Sequence[str]) -> str:
    versus = " against ".join(labels)
    if len(versus) > 52:
        versus = f"{labels[0]} against {len(labels) - 1} others"
    return f"Defects learnt per unit of compute: {versus}"
