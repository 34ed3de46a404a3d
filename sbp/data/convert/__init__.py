"""A data set on disk, written in another layout."""

from sbp.data.convert.converter import TARGETS, convert

__all__ = ["TARGETS", "convert"]
