"""The typed configuration: every key, its type and its range. Nothing here imports torch or reads data.

Hydra composes the YAML files under conf/ against these schemas, which rejects unknown keys and wrong
types; `validated` then turns the result into objects, which checks the ranges and what must fit together.
"""

from sbp.config.compose import flattened, from_values, register_schemas, validated
from sbp.config.groups import DataConfig, DiskData
from sbp.config.root import Config
from sbp.config.schemas import make

__all__ = [
    "Config",
    "DataConfig",
    "DiskData",
    "flattened",
    "from_values",
    "make",
    "register_schemas",
    "validated",
]
