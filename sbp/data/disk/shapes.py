"""Sizes of images and masks, and how messages write them."""

from collections.abc import Sequence

from sbp.errors import UserError

Shape = tuple[int, int]
"""Height and width in pixels."""


def size_text(shape: Sequence[int]) -> str:
    """As messages write it: height x width."""
    return f"{shape[0]} x {shape[1]}"


def expect_drawn_on(size: Shape | None, shape: Shape, where: str) -> None:
    """Raise UserError if an annotation was drawn on an image of another size than the file has."""
    if size is not None and size != shape:
        raise UserError(
            f"{where}: was drawn on an image of {size_text(size)} pixels, the file has {size_text(shape)}"
        )
