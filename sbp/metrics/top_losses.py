"""Why an image is among those of the highest loss: where on it the loss is highest."""

import cv2
import numpy as np

CATEGORIES = ("border", "missing", "missed", "background")
WIDTH = 2
"""Pixels on either side of a border that count as the border."""
_SQUARE = np.ones((2 * WIDTH + 1,) * 2, dtype=np.uint8)


def peak_category(loss_map: np.ndarray, annotation: np.ndarray, clean: np.ndarray | None = None) -> str:
    """What lies under the pixel of the highest loss.

    loss_map: (H, W); annotation, clean: (H, W), 0 or 1. "missing": on, or within WIDTH pixels of, a true
    defect zone that no annotated pixel comes within WIDTH pixels of, so that the annotation lacks it;
    "border": within WIDTH pixels of the annotation's border; "missed": further inside the annotation,
    a defect that the model does not see; "background": anything else, a false alarm. Without clean masks
    nothing can be missing.
    """
    y, x = divmod(int(np.argmax(loss_map)), loss_map.shape[1])
    annotated = annotation.astype(np.uint8)
    near = cv2.dilate(annotated, _SQUARE)
    if clean is not None:
        count, zones = cv2.connectedComponents(clean.astype(np.uint8), connectivity=8)
        masks = ((zones == zone).astype(np.uint8) for zone in range(1, count))
        if any(not (mask & near).any() and cv2.dilate(mask, _SQUARE)[y, x] for mask in masks):
            return "missing"
    inside = cv2.erode(annotated, _SQUARE, borderType=cv2.BORDER_REPLICATE)
    if near[y, x] and not inside[y, x]:
        return "border"
    return "missed" if annotated[y, x] else "background"


def top_loss_shares(
    loss_maps: np.ndarray, annotations: np.ndarray, clean: np.ndarray | None = None
) -> dict[str, float]:
    """Shares `top/<category>` of K images by `peak_category`, in the channel of each image's highest loss.

    loss_maps: (K, D, H, W); annotations, clean: (K, H, W, D). All four keys are there and add up to 1; NaN
    without any image.
    """
    counts = dict.fromkeys(CATEGORIES, 0)
    for k, maps in enumerate(loss_maps):
        d = int(maps.reshape(len(maps), -1).max(axis=1).argmax())
        truth = None if clean is None else clean[k, :, :, d]
        counts[peak_category(maps[d], annotations[k, :, :, d], truth)] += 1
    total = len(loss_maps)
    return {f"top/{name}": count / total if total else float("nan") for name, count in counts.items()}
