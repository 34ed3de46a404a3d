"""Which options a group has, and which of them take further keys."""

from sbp.config.data import (
    CategoryData,
    CocoData,
    DiskData,
    InspectionData,
    MagneticTileData,
    MasksData,
    TableData,
)
from sbp.config.selection import (
    BalancedSelection,
    MaskBordersAggregation,
    MinDefectsAggregation,
    RandomSelection,
    ReuseStaleness,
    ShiftAggregation,
    TopKMeanAggregation,
)
from sbp.config.training import DiceBceLossConfig, FocalLossConfig, SgdConfig

# Options of a group that take further keys name their schema in their defaults list. The schemas live in
# a group of their own, so that `glob(*)` in a sweep sees options only.
SCHEMAS: dict[str, dict[str, type]] = {
    "data": {
        "inspection": InspectionData,
        "masks": MasksData,
        "coco": CocoData,
        "table": TableData,
        "magnetic_tile": MagneticTileData,
        "severstal": DiskData,
        "kolektor_sdd": DiskData,
        "kolektor_sdd2": DiskData,
        "dagm": DiskData,
        "mvtec_ad": CategoryData,
        "visa": CategoryData,
    },
    "selection": {"random": RandomSelection, "balanced": BalancedSelection},
    "aggregation": {
        "topk_mean": TopKMeanAggregation,
        "mindefects_maxbackground": MinDefectsAggregation,
        "maskdefectborders": MaskBordersAggregation,
        "shift": ShiftAggregation,
    },
    "staleness": {"reuse": ReuseStaleness},
    "loss": {"focal": FocalLossConfig, "dice_bce": DiceBceLossConfig},
    "optimizer": {"sgd": SgdConfig},
}


# What `name` may be in the groups whose options are built into the program.
OPTIONS: dict[str, tuple[str, ...]] = {
    "data": tuple(SCHEMAS["data"]),
    "selection": ("none", "selective", "per_defect", "random", "balanced"),
    "aggregation": ("max", "mean", *SCHEMAS["aggregation"]),
    "staleness": ("every_epoch", "stale", "smart", "stale_smart", "reuse"),
    "upsampling": ("none", "rare"),
    "loss": ("bce", "focal", "dice_bce"),
    "optimizer": ("adamw", "sgd"),
    "scheduler": ("constant", "linear", "cosine"),
}
