"""From a composed config to checked objects, and back to flat values."""

from collections.abc import Iterator
from dataclasses import asdict, fields, is_dataclass
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from sbp.config.options import SCHEMAS
from sbp.config.root import Config
from sbp.errors import UserError


def register_schemas() -> None:
    """Tell Hydra about the root schema and the options' schemas; safe to call more than once."""
    store = ConfigStore.instance()
    store.store(name="root_schema", node=Config)
    for group, schemas in SCHEMAS.items():
        for name, schema in schemas.items():
            store.store(group=f"schema/{group}", name=name, node=schema)


def validated(cfg: DictConfig) -> Config:
    """The composed config as objects, all ranges checked; raises UserError with one line otherwise."""
    try:
        config = OmegaConf.to_object(cfg)
    except OmegaConfBaseException as error:
        raise UserError(" ".join(str(error).split())) from None
    if not isinstance(config, Config):
        raise UserError("the config does not follow the root schema; config.yaml must list root_schema first")
    _reject_added_keys(config, "")
    return config


def _reject_added_keys(node: Any, prefix: str) -> None:
    """`+key=value` adds keys past the schema; a key that nothing reads is most likely a typo."""
    known = {f.name for f in fields(node)}
    for name, value in vars(node).items():
        if name not in known:
            raise UserError(f"{prefix}{name}: no such key; allowed here: {', '.join(sorted(known))}")
        if is_dataclass(value):
            _reject_added_keys(value, f"{prefix}{name}.")


def flattened(config: Config) -> dict[str, Any]:
    """Every value by its dotted key, lists as they are: {"beta.value": 8.0, ...}."""

    def walk(value: Any, key: str) -> Iterator[tuple[str, Any]]:
        if isinstance(value, dict):
            for name, inner in value.items():
                yield from walk(inner, f"{key}.{name}" if key else name)
        else:
            yield key, value

    return dict(walk(asdict(config), ""))
