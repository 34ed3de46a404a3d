"""Every metric that a run logs: its key and what it means. docs/metrics.md is made from this."""

import re
from typing import NamedTuple

TRAIN_LOSS = "train/loss"
LEARNING_RATE = "train/lr"
TRAIN_IMAGES = "train/images"
KEPT_FRACTION = "train/kept_fraction"
BASELINE_EPOCHS = "cost/baseline_epochs"
FLOPS = "cost/flops"
SCORED_FRACTION = "cost/scored_fraction"
EPOCH_S = "time/epoch_s"
WORK_S = "time/work_s"
VAL_MAP = "val/map"
BEST_VAL_MAP = "best/val/map"
BORDER_OR_MISSING = "top/border_or_missing"


class Metric(NamedTuple):
    """A key, in which <name> stands for any name, <a|b> for one of these, and [...] can be missing.

    needs: the option or the data without which no run logs it; empty if all do.
    """

    key: str
    meaning: str
    needs: str = ""


TRUE_MASKS = "true masks, as generated data has"
METRICS = (
    Metric(TRAIN_LOSS, "training loss, mean over the epoch's images"),
    Metric(LEARNING_RATE, "learning rate of the epoch's last step"),
    Metric(TRAIN_IMAGES, "images trained on, repetitions counted; tiles count as their part of an image"),
    Metric(KEPT_FRACTION, "share of the candidates that the selection kept"),
    Metric(
        "train/share/<group>",
        "share of the kept images, or tiles with `selection.unit=tile`, that are `healthy`, hold that defect "
        "alone, or hold `several`",
    ),
    Metric(
        BASELINE_EPOCHS,
        "cost so far of training and scoring, in epochs that train on every image once; exact, and the same "
        "on every machine",
    ),
    Metric(FLOPS, "the same cost in floating-point operations"),
    Metric(SCORED_FRACTION, "share of the images that were scored in this epoch, at the budget's expense"),
    Metric(
        "time/<scoring|monitoring|data|training|validation>_s", "seconds of the epoch by what they went to"
    ),
    Metric(EPOCH_S, "their sum"),
    Metric(WORK_S, "seconds so far of scoring, training and waiting for data: what `budget.time_s` limits"),
    Metric(
        "<val|test>/map[/<defect>]",
        "region-level average precision, mean over IoU thresholds 0.1 to 0.5; regions are zones of "
        "probability above `evaluation.threshold`, ranked by their mean probability; without a defect, mean "
        "over defects",
    ),
    Metric("<val|test>/pixel_ap[/<defect>]", "area under the precision-recall curve of the pixels"),
    Metric("<val|test>/loss[/<defect>]", "loss of that defect's map, in nats"),
    Metric("<val|test>/clean_map[/<defect>]", "as `map`, against the true masks", TRUE_MASKS),
    Metric(
        "val/oracle_map[/<defect>]",
        "what the true masks would score against the annotations: a ceiling; in the first epoch",
        TRUE_MASKS,
    ),
    Metric(BEST_VAL_MAP, "the highest `val/map` of any epoch, that of best.pt; at the end"),
    Metric(
        "scores/<scheme>/<defect>/<group>/q<10|50|90>",
        "quantiles of the scores of images, or of tiles with `selection.unit=tile`, by aggregation, defect "
        "channel and what they hold",
        "an epoch in which images are scored",
    ),
    Metric(
        "gradients/norm/<full|high|random|low>",
        "norm of the gradient of a batch, and of its high-loss, random and low-loss parts",
        "`gradients.every`",
    ),
    Metric(
        "gradients/<cosine|sign>/<high|random|low>/<whole|encoder|decoder|head>",
        "cosine and share of equal signs of a part's gradient and the whole batch's, by layers",
        "`gradients.every`",
    ),
    Metric(
        "top/<border|missing|missed|background>",
        "share of the training images, or tiles, of the highest loss whose loss peaks on an annotation's border, "
        "on an unannotated defect, on a missed defect, or on the background; at the end",
    ),
    Metric(BORDER_OR_MISSING, "the first two together, which training cannot mend"),
)


def of_split(split: str, name: str, defect: str | None = None) -> str:
    """Key of a split's map, pixel_ap, loss ...; the mean over defects, or that of one."""
    return f"{split}/{name}" if defect is None else f"{split}/{name}/{defect}"


def share(group: str) -> str:
    """Key of the share of the kept images that belong to a group: healthy, several, or a defect."""
    return f"train/share/{group}"


def seconds(section: str) -> str:
    """Key of an epoch's seconds of one kind."""
    return f"time/{section}_s"


def markdown_table() -> str:
    """The table of all metrics, for docs/metrics.md."""
    rows = ["| metric | meaning | needs |", "|---|---|---|"]
    for key, meaning, needs in METRICS:
        short, full = re.sub(r"\[.*\]", "", key), key.replace("[", "").replace("]", "")
        keys = ", ".join(f"`{name}`" for name in dict.fromkeys((short, full))).replace("|", r"\|")
        rows.append(f"| {keys} | {meaning} | {needs} |")
    return "\n".join(rows)
