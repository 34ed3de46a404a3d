"""cleanlab's ranking of images, for the comparison: run by a Python that has cleanlab, and nothing of sbp.

    PYTHON -m pip install cleanlab; PYTHON experiments/review/cleanlab_scores.py IN.npz OUT.npy

IN.npz: labels (N, H, W) int in 0 to K - 1, pred_probs (N, K, H, W). OUT.npy: (N,) suspicion, 1 less
cleanlab's label quality (softmin over the image's pixels; Lad and Mueller, arXiv:2307.05080).
"""

import sys

import numpy as np


def main(source: str, target: str) -> None:
    from cleanlab.segmentation.rank import get_label_quality_scores

    with np.load(source) as given:
        quality, _ = get_label_quality_scores(given["labels"], given["pred_probs"], verbose=False)
    np.save(target, 1 - quality)


if __name__ == "__main__":
    main(*sys.argv[1:])
