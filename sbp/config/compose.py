"""From a composed config to checked objects, and back to flat values."""

from collections.abc import Iterator
from dataclasses import asdict, fields, is_dataclass
from typing import Any

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from sbp.config.files import fill_from_files
from sbp.config.help import options_text
from sbp.config.root import Config
from sbp.config.schemas import OPEN_GROUPS, all_options, schema
from sbp.errors import UserError
from sbp.plugins.discovery import plugin_folders


def register_schemas() -> None:
    """Load plugins, and tell Hydra about the root schema, the options' schemas and the plugins' config files;
    safe to call more than once. The schemas live in a group of their own, so that `glob(*)` in a sweep sees
    options only. Raises UserError for a plugin that cannot be used."""
    store = ConfigStore.instance()
    store.store(name="root_schema", node=Config)
    for group, name in all_options():
        store.store(group=f"schema/{group}", name=name, node=_node(schema(group, name)))
    Plugins.instance().register(PluginSearchPath)
    # for --help, a template in which Hydra replaces $NAMES
    OmegaConf.register_new_resolver("sbp.options", lambda: options_text().replace("$", "$$"), replace=True)


def _node(schema: type) -> DictConfig:
    """The schema, whose mappings take any key, as in data.values={scratch: 1}."""
    node = OmegaConf.structured(schema)
    for key, value in node.items_ex(resolve=False):
        if isinstance(value, DictConfig):
            OmegaConf.set_struct(node[key], False)
    return node


class PluginSearchPath(SearchPathPlugin):
    """Lets Hydra find the conf/ folders of plugins, after the project's own."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        for folder in plugin_folders("conf"):
            search_path.append(provider="sbp.plugins", path=str(folder))


def validated(cfg: DictConfig) -> Config:
    """The composed config as objects, all ranges checked; raises UserError with one line otherwise."""
    try:
        fill_from_files(cfg)
        config = OmegaConf.to_object(cfg)
    except (OmegaConfBaseException, ValueError) as error:  # ValueError: of a range check
        raise UserError(" ".join(str(error).split())) from None
    if not isinstance(config, Config):
        raise UserError("the config does not follow the root schema; config.yaml must list root_schema first")
    _reject_added_keys(config, "")
    return config


def from_values(values: dict[str, Any]) -> Config:
    """The config of these values, as `dataclasses.asdict` gives them; a group that they lack, since it came
    later than they did, keeps its default. Raises UserError as `validated`."""
    register_schemas()
    root = OmegaConf.create(ConfigStore.instance().load("root_schema.yaml").node)
    for group in OPEN_GROUPS.keys() & values.keys():
        root[group] = OmegaConf.structured(schema(group, values[group]["name"]))
    return validated(OmegaConf.merge(root, OmegaConf.create(values)))  # type: ignore[arg-type]


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
