"""What predictions and scores are measured by. It does not import torch: reading a histogram is quick."""

from sbp.metrics.loss_histogram import LossHistogram, quantiles
from sbp.metrics.operating_points import ImageGroups, lowest_of_defects, operating_metrics
from sbp.metrics.pixel_ap import PixelAveragePrecision
from sbp.metrics.region_ap import MatchedRegions, RegionAP, RegionAveragePrecision, mean_over_defects
from sbp.metrics.region_outcomes import RegionOutcomes, predicted_regions, region_outcomes, unannotated

__all__ = [
    "ImageGroups",
    "LossHistogram",
    "MatchedRegions",
    "PixelAveragePrecision",
    "RegionAP",
    "RegionAveragePrecision",
    "RegionOutcomes",
    "lowest_of_defects",
    "mean_over_defects",
    "operating_metrics",
    "predicted_regions",
    "quantiles",
    "region_outcomes",
    "unannotated",
]
