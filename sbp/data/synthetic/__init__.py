"""The embedded synthetic data set: metal panels with scratches (common) and broken zones (rare)."""

from sbp.data.synthetic.source import DEFECTS, InspectionSource

__all__ = ["DEFECTS", "InspectionSource"]
