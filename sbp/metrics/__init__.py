"""What predictions and scores are measured by: torch, numpy and OpenCV only."""

from typing import TYPE_CHECKING, Any

from sbp.metrics.loss_histogram import LossHistogram, quantiles

if TYPE_CHECKING:
    from sbp.metrics.pixel_ap import PixelAveragePrecision
    from sbp.metrics.region_ap import RegionAP, RegionAveragePrecision, mean_over_defects

__all__ = [
    "LossHistogram",
    "PixelAveragePrecision",
    "RegionAP",
    "RegionAveragePrecision",
    "mean_over_defects",
    "quantiles",
]


def __getattr__(name: str) -> Any:
    # late, so that reading histograms, as the report does, does not import torch
    if name == "PixelAveragePrecision":
        from sbp.metrics import pixel_ap

        return pixel_ap.PixelAveragePrecision
    if name in __all__:
        from sbp.metrics import region_ap

        return getattr(region_ap, name)
    raise AttributeError(f"module 'sbp.metrics' has no attribute {name!r}")
