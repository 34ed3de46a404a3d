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
BORDER_OR_MISSING = "top/border_or_missing"
LOOKALIKE = "lookalike"
UNMARKED = "unmarked"
SUSPECTS = "guard/suspects"
SUSPECT_PRECISION = "guard/precision"
SUSPECT_RECALL = "guard/recall"

LABELLED_IMAGES = "labelled/images"
LABELLED_DEFECTS = "labelled/defects"
LABELLED_MAP = "labelled/map"
LABELLED_AREA = "labelled/area"
FOUND = "labelled/found"
FORGETTING = "forgetting"

# Of a split, see `of_split`:
MAX_RECALL = "max_recall"
FALSE_REGIONS = "false_regions"
LOOKALIKE_FALSE_REGIONS = "lookalike_false_regions"
RECALLS = (0.5, 0.8)
"""Recalls at which false regions are counted."""
SIZES = ("small", "medium", "large")
HEALTHY_IMAGES = "images/healthy"
LOOKALIKE_IMAGES = "images/lookalike"


class Metric(NamedTuple):
    """A key, in which <name> stands for any name, <a|b> for one of these, and [...] can be missing.

    needs: the option or the data without which no run logs it; empty if all do.
    """

    key: str
    meaning: str
    needs: str = ""


GUARD = "`guard=dynamics`"
TRUE_MASKS = "true masks, as generated data has"
LOOKALIKES = "look-alikes that the data set names, as generated data does"
KNOWN_KINDS = "an image set that knows it, as generated data does"
ROUNDS = "`labelling.by`"
ARRIVAL = "`arrival.defect`"
CLASSES = "classification, `loss=cross_entropy`"
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
        f"train/share/<{LOOKALIKE}|{UNMARKED}>",
        "share of the kept images that hold a look-alike, or of the kept images or selected tiles that hold "
        "a defect which the annotation misses",
        KNOWN_KINDS,
    ),
    Metric(SUSPECTS, "images, or selected tiles, whose annotation the guard suspects after the epoch", GUARD),
    Metric(
        SUSPECT_PRECISION,
        "share of those that hold a defect which is not annotated",
        f"{GUARD}, {TRUE_MASKS}",
    ),
    Metric(
        SUSPECT_RECALL,
        "share of the images, or tiles, with an unannotated defect that are suspects",
        f"{GUARD}, {TRUE_MASKS}",
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
    Metric(
        "<val|test>/loss[/<defect>]",
        "loss of that defect's map, in nats; in classification, of the images, without a class",
    ),
    Metric("<val|test>/clean_map[/<defect>]", "as `map`, against the true masks", TRUE_MASKS),
    Metric(
        "val/oracle_map[/<defect>]",
        "what the true masks would score against the annotations: a ceiling; in the first epoch",
        TRUE_MASKS,
    ),
    Metric(
        "<val|test>/false_regions/<r50|r80>[/<defect>]",
        "false regions per healthy image, one without any defect, at the highest confidence threshold with "
        "which the recall of regions is 0.5 (0.8) or more; found at the lowest of "
        "`evaluation.iou_thresholds`, 0.1. Infinite where no threshold reaches that recall, and then not "
        "logged: `max_recall` is below it; without a defect, mean over defects",
    ),
    Metric(
        "<val|test>/lookalike_false_regions/<r50|r80>[/<defect>]",
        "the same per look-alike, a healthy image that shows what resembles a defect",
        LOOKALIKES,
    ),
    Metric(
        "<val|test>/threshold/<r50|r80>/<defect>",
        "that confidence threshold, the mean probability of a region; not logged where there is none",
    ),
    Metric(
        "<val|test>/max_recall[/<defect>]",
        "the highest recall that any threshold reaches, at the same IoU; without a defect, the lowest of all "
        "defects",
    ),
    Metric(
        "<val|test>/recall/<small|medium|large>[/<defect>]",
        "that recall by the size of the annotated region: below 0.3 % of the image's pixels, below 3 %, and "
        "larger (COCO's 32 x 32 and 96 x 96 pixels of 640 x 480); not logged where there is none of a size",
    ),
    Metric("<val|test>/images/healthy", "images without any defect, on which false regions are counted"),
    Metric("<val|test>/images/lookalike", "look-alikes among them", LOOKALIKES),
    Metric("best/val/map", "the highest `val/map` of any epoch, that of best.pt; at the end"),
    Metric(
        "<val|test>/accuracy[/<class>]",
        "share of the images, or of those of a class, whose highest logit is that of their class",
        CLASSES,
    ),
    Metric("<val|test>/error", "share of the images of which it is not", CLASSES),
    Metric("best/val/accuracy", "the highest `val/accuracy` of any epoch, that of best.pt", CLASSES),
    Metric(
        "scores/<scheme>/<defect>/<group>/q<10|50|90>",
        "quantiles of the scores of images, or of tiles with `selection.unit=tile`, by aggregation, defect "
        "channel and what they hold; in classification, of `all` images and of those of each class, if there "
        "are no more than 20",
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
        "share of the training images, or tiles, of the highest loss whose loss peaks on an annotation's "
        "border, on an unannotated defect, on a missed defect, or on the background; at the end",
    ),
    Metric(BORDER_OR_MISSING, "the first two together, which training cannot mend"),
    Metric(LABELLED_IMAGES, "images annotated after each round, which is the step", ROUNDS),
    Metric(LABELLED_DEFECTS, "regions outlined in them", ROUNDS),
    Metric(f"{LABELLED_MAP}[/<defect>]", "`test/map` of the run of each round", ROUNDS),
    Metric(LABELLED_AREA, f"mean of `{LABELLED_MAP}` over the images annotated so far", ROUNDS),
    Metric(f"{FOUND}/<defect>", "share of the defect's training images annotated", ROUNDS),
    Metric("before/<defect>", "`test/map` of an old defect before the new one came in", ARRIVAL),
    Metric(
        f"{FORGETTING}[/<defect>]",
        "how much of that is gone at the end, negative for a gain (its negative is backward transfer); of no "
        "defect, the mean over the old ones",
        ARRIVAL,
    ),
)


def of_split(split: str, name: str, defect: str | None = None) -> str:
    """Key of a split's map, pixel_ap, loss ...; the mean over defects, or that of one."""
    return f"{split}/{name}" if defect is None else f"{split}/{name}/{defect}"


def best(metric: str) -> str:
    """Key of the best value that a metric had after any epoch."""
    return f"best/{metric}"


def at_recall(name: str, recall: float) -> str:
    """Name, for `of_split`, of what is measured at a fixed recall: false_regions/r80."""
    return f"{name}/r{100 * recall:.0f}"


def threshold_for(recall: float) -> str:
    """Name, for `of_split`, of the confidence threshold that reaches a recall; there is no mean of it."""
    return at_recall("threshold", recall)


def told_by(key: str) -> tuple[str, str] | None:
    """Of the key of false regions at a recall, those that tell why it is not logged: the highest recall, and
    how many images there are to count on. None for another key."""
    found = re.fullmatch(rf"(\w+)/({FALSE_REGIONS}|{LOOKALIKE_FALSE_REGIONS})/r\d+(?:/(.+))?", key)
    if found is None:
        return None
    split, name, defect = found.groups()
    images = HEALTHY_IMAGES if name == FALSE_REGIONS else LOOKALIKE_IMAGES
    return of_split(split, MAX_RECALL, defect), of_split(split, images)


def recall_of(size: str) -> str:
    """Name, for `of_split`, of the recall among the annotated regions of one of SIZES."""
    return f"recall/{size}"


def labelled_map(defect: str) -> str:
    """Key of a defect's mAP after each round of annotating."""
    return f"{LABELLED_MAP}/{defect}"


def found(defect: str) -> str:
    """Key of the share of a defect's training images that are annotated."""
    return f"{FOUND}/{defect}"


def before(defect: str) -> str:
    """Key of an old defect's mAP before a new one came in."""
    return f"before/{defect}"


def forgetting(defect: str) -> str:
    """Key of how much of that is gone."""
    return f"{FORGETTING}/{defect}"


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
