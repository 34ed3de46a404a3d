"""Runs that build on earlier runs: what has been annotated by now, and a defect that comes in late."""

from sbp.steps.execute import run

__all__ = ["run"]
