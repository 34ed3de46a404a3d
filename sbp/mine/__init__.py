"""Which images without annotations to annotate next: a list, a sheet, a folder to upload."""

from sbp.mine.choose import Choice, ranking, stratified_ranking, within_budget
from sbp.mine.mining import RULES, Mined, mine

__all__ = ["RULES", "Choice", "Mined", "mine", "ranking", "stratified_ranking", "within_budget"]
