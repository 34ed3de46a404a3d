"""Reading a data set once, in search of what would make training on it wrong."""

from sbp.data.audit.findings import Finding, find
from sbp.data.audit.near import NearPair, near_pairs
from sbp.data.audit.reading import ImageFacts, read_all

__all__ = ["Finding", "ImageFacts", "NearPair", "find", "near_pairs", "read_all"]
