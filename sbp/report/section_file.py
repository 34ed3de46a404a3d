"""Reads a section's file, experiments/<section>/claims.yaml: question, arms, figures, claims with rules."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from sbp.errors import UserError
from sbp.report.claims import Claim, Measure, Part
from sbp.report.curves import Axis
from sbp.report.measures import STATISTICS

KINDS = ("curves", "bars", "composition", "ridge", "gallery", "similarity")
COMPARISONS = ("value", "difference", "ratio")
AXES = ("compute", "epoch", "seconds")
SOURCES = ("blog", "jiang", "sbp")


@dataclass(frozen=True)
class FigureSpec:
    """One figure. kind: see KINDS; x: axis of curves; metrics: key to panel title; log: logarithmic
    vertical axes; schemes: of a ridge; arms: those shown, empty for all."""

    kind: str
    title: str = ""
    x: Axis = "epoch"
    metrics: Mapping[str, str] = field(default_factory=dict)
    schemes: tuple[str, ...] = ()
    arms: tuple[str, ...] = ()
    caption: str = ""
    log: bool = False


@dataclass(frozen=True)
class Section:
    """One experiment: what is asked, what is shown, what is judged. borrows: arms of other sections that
    its claims use."""

    name: str
    title: str
    question: str
    arms: tuple[str, ...]
    figures: tuple[FigureSpec, ...]
    claims: tuple[Claim, ...]
    notes: str = ""
    borrows: tuple[str, ...] = ()


def load_section(path: str | Path) -> Section:
    """The section in the folder of `path`. Raises UserError with one line that names file, claim and key."""
    path = Path(path)
    place = f"{path.parent.name}/{path.name}"
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError:
        raise UserError(f"{path}: no such file") from None
    except yaml.YAMLError as error:
        raise UserError(f"{place}: not valid YAML: {' '.join(str(error).split())[:200]}") from None
    allowed = {f.name for f in fields(Section)} - {"name"}
    _check_keys(content, allowed, {"title", "question", "arms"}, place)
    arms = (*content["arms"], *content.get("borrows", ()))
    claims = tuple(_claim(entry, arms, place) for entry in content.get("claims", ()))
    ids = [claim.id for claim in claims]
    for name in ids:
        _require(ids.count(name) == 1, f"{place}: claim {name}", "is there twice")
    return Section(
        name=path.parent.name,
        title=content["title"],
        question=content["question"].strip(),
        arms=tuple(content["arms"]),
        figures=tuple(_figure(entry, arms, place) for entry in content.get("figures", ())),
        claims=claims,
        notes=content.get("notes", ""),
        borrows=tuple(content.get("borrows", ())),
    )


def _require(condition: bool, where: str, allowed: str) -> None:
    if not condition:
        raise UserError(f"{where}: {allowed}")


def _check_keys(entry: Any, allowed: set[str], required: set[str], where: str) -> None:
    _require(isinstance(entry, dict), where, "must be a mapping of keys to values")
    for key in entry:
        _require(key in allowed, f"{where}: {key}", f"no such key; allowed: {', '.join(sorted(allowed))}")
    for key in sorted(required):
        _require(key in entry, f"{where}: {key}", "is missing")


def _one_of(value: Any, allowed, where: str) -> None:
    _require(value in allowed, f"{where}={value}", f"must be one of {', '.join(allowed)}")


def _figure(entry: Any, arms: tuple[str, ...], place: str) -> FigureSpec:
    where = f"{place}: figure"
    _check_keys(entry, {f.name for f in fields(FigureSpec)}, {"kind", "title"}, where)
    _one_of(entry["kind"], KINDS, f"{where}: kind")
    _one_of(entry.get("x", "epoch"), AXES, f"{where}: x")
    for arm in entry.get("arms", ()):
        _one_of(arm, arms, f"{where}: arms")
    lists = {key: tuple(entry[key]) for key in ("schemes", "arms") if key in entry}
    return FigureSpec(**{**entry, **lists})


def _claim(entry: Any, arms: tuple[str, ...], place: str) -> Claim:
    where = f"{place}: claim {entry.get('id', '?') if isinstance(entry, dict) else '?'}"
    _check_keys(entry, {"id", "source", "text", "note", "parts"}, {"id", "source", "text", "parts"}, where)
    _one_of(entry["source"], SOURCES, f"{where}: source")
    parts = tuple(_part(part, arms, where) for part in entry["parts"])
    return Claim(entry["id"], entry["source"], entry["text"], parts, (entry.get("note") or "").strip())


def _part(entry: Any, arms: tuple[str, ...], where: str) -> Part:
    _check_keys(entry, {"left", "right", "compare", "region", "text"}, {"left", "region"}, where)
    left = _measure(entry["left"], arms, f"{where}: left")
    right = None
    if entry.get("right") is not None:  # what it does not say is as on the left
        right = _measure({**entry["left"], **entry["right"]}, arms, f"{where}: right")
    compare = entry.get("compare", "value" if right is None else "difference")
    _one_of(compare, COMPARISONS, f"{where}: compare")
    _require(
        (compare == "value") == (right is None), f"{where}: compare={compare}", "needs right, unless value"
    )
    region = entry["region"]
    _require(
        isinstance(region, list) and len(region) == 2, f"{where}: region={region}", "must be [low, high]"
    )
    low, high = region
    _require(low is not None or high is not None, f"{where}: region", "must have a bound")
    ordered = low is None or high is None or low <= high
    _require(ordered, f"{where}: region={region}", "must have low at most high")
    return Part(left, right, compare, low, high, entry.get("text", ""))


def _measure(entry: Any, arms: tuple[str, ...], where: str) -> Measure:
    _check_keys(entry, {f.name for f in fields(Measure)}, {"arm", "metric"}, where)
    measure = Measure(**entry)
    _one_of(measure.arm, arms, f"{where}: arm")
    _one_of(measure.statistic, tuple(STATISTICS), f"{where}: statistic")
    _one_of(measure.over, AXES, f"{where}: over")
    if measure.statistic in ("at", "change_since"):
        ok = measure.at is not None and 0 <= measure.at <= 1
        _require(ok, f"{where}: at={measure.at}", "must be between 0 and 1")
    if measure.statistic == "reach":
        ok = measure.level is not None and 0 < measure.level <= 1
        _require(ok, f"{where}: level={measure.level}", "must be above 0 and at most 1")
    return measure
