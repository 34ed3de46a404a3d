"""What an annotation says of itself, its box and area, against what it draws.

A file whose numbers contradict each other was converted wrongly somewhere: coordinates divided by the image's
size, drawn on a smaller copy, or with x and y exchanged. The mask would be wrong without a word.
"""

from dataclasses import dataclass

import numpy as np

from sbp.errors import UserError

Extent = tuple[float, float, float, float]
"""Left, top, width and height in pixels."""
ELSEWHERE = 0.1
"""Overlap (IoU) of the box that is said and the one that is drawn below which one of them is wrong."""
DOUBTFUL = 0.5
SLACK = 1.0
"""Pixels by which boxes may differ: some tools count from the centres of pixels, or round."""
AREA_FACTOR = 1.5
AREA_SLACK = 16.0


@dataclass(frozen=True)
class Claims:
    """box: left, top, width and height in pixels; area: in pixels. None for what is not said."""

    box: Extent | None = None
    area: float | None = None

    def expect_near(self, drawn: Extent, where: str) -> None:
        """Raise UserError if what is drawn lies elsewhere than the box."""
        if self.box is None or _overlap(self.box, drawn) >= ELSEWHERE:
            return
        reason = "one of them is wrong; mend the file, or remove the box if the outline is right"
        if max(abs(value) for value in drawn) <= 2 < max(self.box):
            reason = "the coordinates are divided by the image's size; multiply them by width and height"
        raise UserError(f"{where}: {self._boxes(drawn)}: {reason}")

    def contradiction(self, mask: np.ndarray) -> str:
        """What the box or the area says against the drawn mask (H, W) bool; empty if they agree."""
        drawn = extent_of(mask)
        if drawn is None:
            return ""
        if self.box is not None and _overlap(self.box, drawn) < DOUBTFUL:
            return self._boxes(drawn)
        pixels, box_area = int(mask.sum()), drawn[2] * drawn[3]
        # some tools write the box's area
        if self.area and not _near(self.area, pixels) and not _near(self.area, box_area):
            return f"area says {self.area:g} pixels, its outline covers {pixels}"
        return ""

    def _boxes(self, drawn: Extent) -> str:
        assert self.box is not None
        return f"bbox says {_text(self.box)}, its outline is {_text(drawn)}"


def extent_of(mask: np.ndarray) -> Extent | None:
    """Of the pixels that are set, None without any."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    left, top = float(columns[0]), float(rows[0])
    return left, top, float(columns[-1] + 1 - left), float(rows[-1] + 1 - top)


def _overlap(a: Extent, b: Extent) -> float:
    """IoU of two boxes, each grown by the slack."""
    grown = [(x - SLACK, y - SLACK, x + w + SLACK, y + h + SLACK) for x, y, w, h in (a, b)]
    (l1, t1, r1, b1), (l2, t2, r2, b2) = grown
    common = max(0.0, min(r1, r2) - max(l1, l2)) * max(0.0, min(b1, b2) - max(t1, t2))
    return common / ((r1 - l1) * (b1 - t1) + (r2 - l2) * (b2 - t2) - common)


def _near(a: float, b: float) -> bool:
    return abs(a - b) <= AREA_SLACK or max(a, b) <= AREA_FACTOR * min(a, b)


def _text(box: Extent) -> str:
    left, top, width, height = box
    return f"{width:.4g} x {height:.4g} at ({left:.4g}, {top:.4g})"
