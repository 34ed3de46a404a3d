"""EXIF orientations: what an image's file says of how it is to be shown."""

import numpy as np

BACK = {1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 8, 7: 7, 8: 6}
"""The orientation that undoes another."""


def turned(array: np.ndarray, orientation: int) -> np.ndarray:
    """(H, W, ...) as it is stored to as it is shown. orientation: 1 to 8, as EXIF numbers them: 2 to 4 flip
    or turn by half, 5 to 8 also exchange height and width."""
    if orientation > 4:
        array = array.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    return np.ascontiguousarray(array)
