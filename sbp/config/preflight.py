"""Checks the command line before Hydra starts: every job of a sweep is composed and validated first.

Hydra reports a mistake over several lines, when it reaches the job; here it is one, before anything is read.
"""

import difflib
import itertools
import math
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from sbp.config import Config, register_schemas, validated
from sbp.config.command_line import (
    OVERLAYS,
    QUOTES,
    expect_present_names,
    expect_readable,
    plain,
)
from sbp.config.engines import expect_installed
from sbp.config.paths import conf_dir, output_root
from sbp.errors import UserError

MAX_JOBS = 500
"""A larger sweep has each value checked by itself instead of each combination."""
SEED = re.compile(r"seed=(\d+)")
FOLDERS = ("output_root", "hydra.run.dir", "hydra.sweep.dir")


@dataclass(frozen=True)
class Job:
    """One job of the command line: its overrides and its config."""

    overrides: list[str]
    config: Config


@dataclass(frozen=True)
class Plan:
    """What a command line starts. sweep: whether as a multirun; complete: whether `jobs` are all of them,
    which only the sweeper knows for a search such as Optuna's."""

    jobs: list[Job]
    sweep: bool
    complete: bool


def check_overrides(arguments: Sequence[str]) -> Plan:
    """The jobs that a command line starts; raises UserError if one of them could not.

    arguments: the command line without the program's name. Hydra's own flags other than -m end the check:
    they ask for help or another config.
    """
    register_schemas()
    overrides = [a for a in plain(arguments) if a not in ("-m", "--multirun")]
    expect_present_names(overrides)
    if any(a.startswith("-") for a in overrides):
        return Plan([], False, False)
    with initialize_config_dir(conf_dir(), version_base="1.3"):
        expect_readable(overrides)
        parser = OverridesParser.create(GlobalHydra.instance().config_loader())
        parsed = parser.parse_overrides(overrides)
        expect_installed(parsed)
        params, sweep = _experiment_sweep(parsed)
        # the command line wins, as in Hydra's sweeper
        parsed = list({o.get_key_element(): o for o in [*parser.parse_overrides(params), *parsed]}.values())
        complete = all(not o.is_sweep_override() or o.is_discrete_sweep() for o in parsed)
        is_sweep = sweep or len(overrides) < len(arguments)
        for override in parsed:
            if override.is_sweep_override() and not is_sweep:
                raise UserError(
                    f"{override.input_line}: several values need a sweep, -m; a list goes in [...], a text "
                    f"with a comma in {QUOTES}"
                )
        _expect_writable(parsed)
        lists, all_combined = _jobs(parsed)
        jobs = [Job(job, config) for job, config in zip(lists, _checked(lists), strict=True)]
        return Plan(jobs, is_sweep, complete and all_combined)


def _expect_writable(parsed: list[Override]) -> None:
    """Raise UserError if a folder that a run writes to cannot be made: Hydra would, before the job."""
    chosen = {o.get_key_element().lstrip("+"): o.value() for o in parsed if not o.is_sweep_override()}
    places = {f"{key}={chosen[key]}": chosen[key] for key in FOLDERS if key in chosen}
    if "output_root" not in chosen:
        root = output_root()
        if "${" in root:
            raise UserError(f"SBP_OUTPUT={root}: must not hold ${{, which Hydra would replace")
        places[f"SBP_OUTPUT={root}"] = root
    for name, value in places.items():
        place = str(value).strip("'\"")
        if not place:
            raise UserError(f"{name}: must be the path of a folder")
        if "${" not in place and (reason := _why_not_writable(Path(place))):
            raise UserError(f"{name}: cannot be written ({reason}); choose another place")


def _why_not_writable(folder: Path) -> str:
    """Empty if the folder, or the nearest one above it that is there, can be written to."""
    try:
        folder = folder.absolute()
        while not folder.exists():
            folder = folder.parent
        if not folder.is_dir():
            return f"{folder} is no folder"
        return "" if os.access(folder, os.W_OK) else f"no permission for {folder}"
    except OSError as error:
        return error.strerror or str(error)


def _experiment_sweep(parsed: list[Override]) -> tuple[list[str], bool]:
    """What an experiment file sweeps by itself, as overrides, and whether it is a sweep without -m."""
    fixed = [o.input_line or "" for o in parsed if not o.is_sweep_override()]
    if not any(line.startswith("experiment=") for line in fixed):
        return [], False
    try:
        hydra_config = compose("config", overrides=fixed, return_hydra_config=True).hydra
    except (HydraException, ValueError):  # the check of the jobs says it in one line
        return [], False
    params = OmegaConf.select(hydra_config, "sweeper.params") or {}
    sweep = str(OmegaConf.select(hydra_config, "mode") or "").endswith("MULTIRUN")
    for key in params:
        if str(key).lstrip("+") in OVERLAYS and str(key).startswith("+"):
            name = next(line for line in fixed if line.startswith("experiment="))
            raise UserError(f"{name}: hydra.sweeper.params: {key} is called {key[1:]} now")
    return [f"{key}={value}" for key, value in params.items()], sweep


def _jobs(parsed: list[Override]) -> tuple[list[list[str]], bool]:
    """The overrides of a sweep's jobs, but for axes that only its sweeper can expand; whether that is all."""
    axes: list[list[str]] = []
    for override in parsed:
        key = override.get_key_element()
        if not override.is_sweep_override():
            axes.append([override.input_line or ""])
        elif override.is_discrete_sweep():
            axes.append([f"{key}={value}" for value in override.sweep_string_iterator()])
    if math.prod(map(len, axes)) <= MAX_JOBS:
        return [list(job) for job in itertools.product(*axes)], True
    first = [axis[0] for axis in axes]
    return [[*first[:n], value, *first[n + 1 :]] for n, axis in enumerate(axes) for value in axis], False


def _checked(jobs: Iterable[list[str]]) -> Iterator[Config]:
    """The config of each job. Composing one takes a third of a second; jobs that differ in nothing but their
    seed, which chooses no option, are composed once."""
    known: dict[tuple[str, ...], DictConfig] = {}
    for overrides in jobs:
        alike = tuple(override for override in overrides if not SEED.fullmatch(override))
        if alike not in known:
            known[alike] = _composed(overrides)
        cfg = deepcopy(known[alike])
        for override in overrides:
            if match := SEED.fullmatch(override):
                cfg.seed = int(match[1])
        cfg.run_dir = "not started"  # known to Hydra only once the run has a folder
        yield validated(cfg)


def _composed(overrides: list[str]) -> DictConfig:
    try:
        return compose("config", overrides=overrides)
    except MissingConfigException as error:
        raise UserError(_missing_option(error)) from None
    except ConfigCompositionException as error:
        raise UserError(_bad_key_or_type(error, overrides)) from None
    except HydraException as error:
        raise UserError(_first_line(error)) from None
    except ValueError as error:  # a number where a group's option belongs, as in beta=8
        raise UserError(_value_as_option(overrides) or _first_line(error)) from None


def _missing_option(error: MissingConfigException) -> str:
    group, _, option = (error.missing_cfg_file or "").rpartition("/")
    options = [name for name in error.options or [] if name != "schema"]
    if not group or not options:
        return _first_line(error)
    return f"{group}={option}: must be one of {', '.join(options)}{_suggest(option, options)}"


def _bad_key_or_type(error: ConfigCompositionException, overrides: list[str]) -> str:
    cause = error.__cause__
    if str(error).startswith("Error merging override ") and isinstance(cause, OmegaConfBaseException):
        override = str(error).removeprefix("Error merging override ")
        if "is not a ListConfig" in str(cause):
            key, _, value = override.partition("=")
            return f"{override}: must be a list, as in {key}=[{value}]"
        return f"{override}: {_first_line(cause)}"
    match = re.match(r"Could not override '([^'@]+)", str(error))
    if match:
        return _unknown_key(getattr(cause, "full_key", None) or match[1], overrides)
    return _first_line(error)


def _unknown_key(key: str, overrides: list[str]) -> str:
    """Name the deepest part of the key that exists, and what it holds."""
    choices = [o for o in overrides if "." not in o.split("=")[0] and o.split("=")[0] != key]
    try:
        node: DictConfig = compose("config", overrides=choices)
    except (HydraException, OmegaConfBaseException, ValueError):
        node = compose("config")
    parent, *rest = key.split(".")
    path: list[str] = []
    while rest and isinstance(node, DictConfig) and parent in node:
        node = OmegaConf.select(node, parent)
        path.append(parent)
        parent, *rest = rest
    if not isinstance(node, DictConfig):
        return f"{key}: no such key; {'.'.join(path)} is a single value"
    allowed = sorted(str(k) for k in node)
    if path == ["tags"]:
        return f"{key}: no such key yet; a new one goes in as +{key}=TEXT"
    return f"{key}: no such key; allowed{' in ' + '.'.join(path) if path else ''}: {', '.join(allowed)}" + (
        _suggest(parent, allowed)
    )


def _value_as_option(overrides: list[str]) -> str | None:
    for override in overrides:
        key, _, value = override.partition("=")
        if "." not in key and re.fullmatch(r"null|[tT]rue|[fF]alse", value):
            return f"{override}: must be the name of an option"
        if "." not in key and re.fullmatch(r"[-+.\de]+", value):
            return f"{override}: must be the name of an option; a number goes in as {key}.KEY={value}" + (
                ", for example beta=b8 or beta.value=8" if key == "beta" else ""
            )
    return None


def _suggest(word: str, known: list[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def _first_line(error: BaseException) -> str:
    return " ".join(str(error).strip().split("\n")[0].split())
