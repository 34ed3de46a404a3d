"""Which annotations may be wrong: a ranked list, a sheet to look through, proposals for a tool."""

from sbp.review.reviewing import Review, review
from sbp.review.suspects import KINDS, Suspect, compare, ranked

__all__ = ["KINDS", "Review", "Suspect", "compare", "ranked", "review"]
