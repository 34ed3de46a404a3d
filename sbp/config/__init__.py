"""The typed configuration: every key, its type and its range. Nothing here imports torch or reads data.

Hydra composes the YAML files under conf/ against these schemas, which rejects unknown keys and wrong
types; `validated` then turns the result into objects, which checks the ranges and what must fit together.
"""

from sbp.config.compose import flattened, register_schemas, validated
from sbp.config.data import (
    CategoryData,
    CocoData,
    DataConfig,
    DiskData,
    InspectionData,
    MagneticTileData,
    MasksData,
    TableData,
)
from sbp.config.options import OPTIONS, SCHEMAS
from sbp.config.root import Config
from sbp.config.run import GradientsConfig
from sbp.config.selection import (
    AggregationConfig,
    BalancedSelection,
    BetaConfig,
    RandomSelection,
    ReuseStaleness,
    SelectionConfig,
    StalenessConfig,
)
from sbp.config.training import (
    DiceBceLossConfig,
    FocalLossConfig,
    LossConfig,
    ModelConfig,
    OptimizerConfig,
    SgdConfig,
)

__all__ = [
    "OPTIONS",
    "SCHEMAS",
    "AggregationConfig",
    "BalancedSelection",
    "BetaConfig",
    "CategoryData",
    "CocoData",
    "Config",
    "DataConfig",
    "DiceBceLossConfig",
    "DiskData",
    "FocalLossConfig",
    "GradientsConfig",
    "InspectionData",
    "LossConfig",
    "MagneticTileData",
    "MasksData",
    "ModelConfig",
    "OptimizerConfig",
    "RandomSelection",
    "ReuseStaleness",
    "SelectionConfig",
    "SgdConfig",
    "StalenessConfig",
    "TableData",
    "flattened",
    "register_schemas",
    "validated",
]
