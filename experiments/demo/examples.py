"""Which test images the demo shows, and what it says of what each run predicts on them.

The rule that chooses them knows images and annotations alone, never how well a prediction comes out.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from sbp.config.groups import EvaluationConfig
from sbp.data.dataset import Split
from sbp.data.source import VOID
from sbp.metrics import predicted_regions, region_outcomes, unannotated
from sbp.plots.examples import Example


def chosen_images(split: Split) -> list[int]:
    """The images to show, in this order, each once.

    For each defect the first image on which it alone is annotated and no annotation lacks; the first healthy
    look-alike; the first that has a defect and no annotation. Where no image has it alone like this, the
    first that has it among others stands in. What the split does not hold, or nobody knows, is left out.
    """
    annotated = split.labels
    lacking = np.array([unmarked(split, i) for i in range(len(split))]).reshape(annotated.shape)
    kind = np.array([bool(kind) for kind in split.kinds])
    nothing, faulty = ~annotated.any(axis=1), lacking.any(axis=1)
    wanted = [(column & (annotated.sum(axis=1) == 1) & ~faulty, column) for column in annotated.T]
    wanted += [(kind & nothing & ~faulty,), (faulty & nothing, faulty)]
    fitting = (next((images for images in choices if images.any()), None) for choices in wanted)
    return list(dict.fromkeys(int(np.argmax(images)) for images in fitting if images is not None))


def unmarked(split: Split, index: int) -> np.ndarray:
    """(D,) bool, the defects of which the image's annotation lacks a part; none where that is not known."""
    if split.clean_masks is None:
        return np.zeros(split.labels.shape[1], dtype=bool)
    annotation, clean = (masks[index].transpose(2, 0, 1) == 1 for masks in (split.masks, split.clean_masks))
    return unannotated(annotation, clean).any(axis=(1, 2))


def what_it_shows(split: Split, index: int, defects: Sequence[str]) -> str:
    """The image in words, for example "scratch; broken, not annotated" or "healthy look-alike (fibre)"."""
    annotated = split.labels[index]
    said = [" and ".join(name for name, held in zip(defects, annotated, strict=True) if held)]
    for name, held, lacking in zip(defects, annotated, unmarked(split, index), strict=True):
        if lacking:
            said.append(f"{'another ' if held else ''}{name}, not annotated")
    kind = split.kinds[index]
    return "; ".join(filter(None, said)) or (f"healthy look-alike ({kind})" if kind else "healthy")


def example_of(
    split: Split,
    index: int,
    probabilities: Mapping[str, np.ndarray],
    defects: Sequence[str],
    evaluation: EvaluationConfig,
) -> Example:
    """The image with each run's predictions, each judged region by region as the evaluation counts them.

    probabilities: by label of every run, (N, D, H, W) of all images of the split.
    """
    masks = np.array(split.masks[index])
    clean = None if split.clean_masks is None else np.array(split.clean_masks[index])
    annotation, valid = _channels_first(masks == 1), _channels_first(masks != VOID)
    truth = None if clean is None else _channels_first(clean == 1)
    predictions, regions, verdicts = {}, {}, {}
    for label, of_all in probabilities.items():
        # where nobody knows, nothing is found and nothing a false alarm: as in sbp.engine.evaluation
        found = predicted_regions(of_all[index] * valid, evaluation.threshold, evaluation.min_area)
        outcomes = region_outcomes(found, annotation, truth, min(evaluation.iou_thresholds))
        predictions[label] = of_all[index].transpose(1, 2, 0)
        regions[label], verdicts[label] = found.transpose(1, 2, 0), outcomes.words()
    about = what_it_shows(split, index, defects)
    image, name = np.array(split.images[index]), split.names[index]
    return Example(image, masks, predictions, clean, about, name, regions, verdicts)


def rules(split: Split, evaluation: EvaluationConfig) -> list[str]:
    """How the examples are chosen, and what the words below them mean."""
    chosen = ["the first test image with each defect alone"]
    chosen += ["the first look-alike"] if any(split.kinds) else []
    words = [
        f"hit: annotated and predicted (IoU ≥ {min(evaluation.iou_thresholds):g})",
        "miss: annotated only",
        "false alarm: predicted only",
    ]
    if split.clean_masks is not None:
        chosen.append("the first with a defect and no annotation")
        words.append("missing annotation: rightly predicted, not annotated")
    outlined = f"zones of a probability above {evaluation.threshold:g}, {evaluation.min_area} pixels or more"
    return [
        f"Chosen by number, not by outcome: {', '.join(chosen)}.",
        "; ".join(words) + ".",
        f"Tint: predicted probability. Outlined and judged: {outlined}, as mAP counts them.",
    ]


def _channels_first(masks: np.ndarray) -> np.ndarray:
    return masks.transpose(2, 0, 1)
