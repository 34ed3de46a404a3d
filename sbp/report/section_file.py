"""Reads a section's file, experiments/<section>/claims.yaml: question, figures, claims with their rules."""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import ConfigKeyError, MissingMandatoryValue, OmegaConfBaseException

from sbp.errors import UserError
from sbp.plugins.checks import one_of
from sbp.report.claims import Claim
from sbp.report.measures import AXES, BUDGETS, SHORT

KINDS = ("curves", "budgets", "bars", "composition", "ridge", "gallery", "similarity")
T = TypeVar("T")


@dataclass
class FigureSpec:
    """One figure. kind: one of KINDS; x: axis of curves; metrics: key to panel title; log: logarithmic
    vertical axes; schemes: of a ridge; arms: those shown, empty for all; budget: whose runs are shown, one of
    BUDGETS (of kind budgets: every one's, side by side)."""

    kind: str
    title: str
    x: str = "epoch"
    metrics: dict[str, str] = field(default_factory=dict)
    schemes: list[str] = field(default_factory=list)
    arms: list[str] = field(default_factory=list)
    caption: str = ""
    log: bool = False
    budget: str = SHORT

    def __post_init__(self) -> None:
        one_of("kind", self.kind, KINDS)
        one_of("x", self.x, AXES)
        one_of("budget", self.budget, BUDGETS)


@dataclass
class Target:
    """A height that arms are timed to: the final value that the arm `until` has of `metric`."""

    until: str
    metric: str


@dataclass
class SectionFile:
    """What is asked, shown and judged. order: where the section stands in a report, a number that no other
    section has; without one it comes last. headline: it comes before everything else. targets: what its table
    of speed times the arms to, a table for each budget; none without. grid: whether it is of the blog's grid,
    which `make reproduce` runs; others run when they are named."""

    title: str
    question: str
    order: float = math.inf
    headline: bool = False
    grid: bool = True
    targets: list[Target] = field(default_factory=list)
    figures: list[FigureSpec] = field(default_factory=list)
    claims: list[Claim] = field(default_factory=list)
    notes: str = ""


def load_section_file(path: str | Path, arms: Collection[str]) -> SectionFile:
    """The file as objects. arms: names that it may use. Raises UserError with one line that names file, claim
    and key."""
    path = Path(path)
    place = f"{path.parent.name}/{path.name}"
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError:
        raise UserError(f"{path}: no such file") from None
    except yaml.YAMLError as error:
        raise UserError(f"{place}: not valid YAML: {' '.join(str(error).split())[:200]}") from None
    if not isinstance(content, dict):
        raise UserError(f"{place}: must be a mapping of keys to values")
    entries = {key: content.pop(key, None) or [] for key in ("targets", "figures", "claims")}
    for key, listed in entries.items():
        if not isinstance(listed, list):
            raise UserError(f"{place}: {key}: must be a list")
    section = filled(SectionFile, content, place)
    section.question = section.question.strip()
    for entry in entries["targets"]:
        target = filled(Target, entry, f"{place}: target")
        _check_arms([target.until], arms, f"{place}: target")
        section.targets.append(target)
    for entry in entries["figures"]:
        where = f"{place}: figure"
        figure = filled(FigureSpec, entry, where)
        _check_arms(figure.arms, arms, where)
        section.figures.append(figure)
    for entry in entries["claims"]:
        where = f"{place}: claim {entry.get('id', '?') if isinstance(entry, dict) else '?'}"
        claim = filled(Claim, _with_rights(entry), where)
        _check_arms([measure.arm for measure in claim.measures()], arms, where)
        if claim.id in (known.id for known in section.claims):
            raise UserError(f"{where}: is there twice")
        section.claims.append(claim)
    return section


def filled(cls: type[T], entry: Any, where: str) -> T:
    """`entry` as an object of a dataclass, its keys, types and ranges checked. Raises UserError."""
    if not isinstance(entry, dict):
        raise UserError(f"{where}: must be a mapping of keys to values")
    try:
        merged = OmegaConf.merge(OmegaConf.structured(cls), entry)
        made = OmegaConf.to_object(merged)
    except ConfigKeyError as error:
        allowed = sorted(f.name for f in fields(error.object_type or cls))  # type: ignore[arg-type]
        raise UserError(f"{where}: {error.full_key}: no such key; allowed: {', '.join(allowed)}") from None
    except MissingMandatoryValue as error:
        raise UserError(f"{where}: {error.full_key}: is missing") from None
    except OmegaConfBaseException as error:
        text = " ".join(str(error).split("\n")[0].split())
        raise UserError(f"{where}: {error.full_key}: {text}") from None
    except ValueError as error:
        raise UserError(f"{where}: {error}") from None
    assert isinstance(made, cls)
    return made


def _with_rights(claim: Any) -> Any:
    """The claim with the right side of each part as its left where it says nothing else."""
    if not isinstance(claim, dict) or not isinstance(claim.get("parts"), list):
        return claim

    def completed(part: Any) -> Any:
        if not isinstance(part, dict) or not all(isinstance(part.get(s), dict) for s in ("left", "right")):
            return part
        return {**part, "right": {**part["left"], **part["right"]}}

    return {**claim, "parts": [completed(part) for part in claim["parts"]]}


def _check_arms(named: Collection[str], arms: Collection[str], where: str) -> None:
    for arm in named:
        if arm not in arms:
            raise UserError(f"{where}: arm={arm}: must be one of {', '.join(arms)}")


def default_figures(metrics: Mapping[str, str]) -> list[FigureSpec]:
    """What a section without a file shows: the metrics over compute. metrics: key to panel title."""
    return [FigureSpec("curves", "Mean average precision over compute", "compute", dict(metrics))]
