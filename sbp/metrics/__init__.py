"""What predictions and scores are measured by. It does not import torch: reading a histogram is quick."""

from sbp.metrics.loss_histogram import LossHistogram, quantiles
from sbp.metrics.pixel_ap import PixelAveragePrecision
from sbp.metrics.region_ap import RegionAP, RegionAveragePrecision, mean_over_defects
from sbp.metrics.region_outcomes import RegionOutcomes, predicted_regions, region_outcomes, unannotated

__all__ = [
    "LossHistogram",
    "PixelAveragePrecision",
    "RegionAP",
    "RegionAveragePrecision",
    "RegionOutcomes",
    "mean_over_defects",
    "predicted_regions",
    "quantiles",
    "region_outcomes",
    "unannotated",
]
