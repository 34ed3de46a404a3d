"""The sections that there are: experiments with `section:` in conf/experiment/, and their claims.yaml.

Nothing is listed: a file conf/experiment/NAME.yaml with `section: NAME` makes a section, and a file
experiments/NAME/claims.yaml beside it says what the report shows and judges. Both are looked for in the
project's folders and in those of plugins; a section of a plugin is reported and run when it is asked for.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

import yaml

from sbp.config.paths import conf_dirs, sections_dirs
from sbp.errors import UserError
from sbp.report.measures import SHORT
from sbp.report.section_file import SectionFile, load_section_file


@dataclass(frozen=True)
class Section:
    """One experiment. arms: names of conf/arm options that its experiment runs, empty if it sweeps something
    else; budgets: options of conf/budget that it runs them at; exclusive: its runs have the machine to
    themselves; folder: of its claims and recorded results, if it has any; file: what claims.yaml says, if
    there is one."""

    name: str
    experiment: str
    arms: tuple[str, ...]
    budgets: tuple[str, ...]
    exclusive: bool
    folder: Path
    file: SectionFile | None

    @property
    def title(self) -> str:
        """What the report calls it."""
        return self.file.title if self.file else self.name.replace("_", " ").capitalize()


@cache
def known_sections() -> dict[str, Section]:
    """Every section by name, in the order of a report: by `order`, then those without one by name.

    Raises UserError for a claims.yaml with a mistake, or whose order another one has.
    """
    experiments: dict[str, tuple[str, dict]] = {}
    for path in _files("experiment"):
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        if content.get("section"):
            experiments.setdefault(content["section"], (path.stem, content))
    found = [_section(name, stem, content) for name, (stem, content) in experiments.items()]
    ranked = sorted(found, key=lambda s: (s.file.order if s.file else float("inf"), s.name))
    for one, next_one in pairwise(ranked):
        if one.file and next_one.file and one.file.order == next_one.file.order < float("inf"):
            raise UserError(
                f"{next_one.name}/claims.yaml: order={next_one.file.order:g}: section {one.name} has it too"
            )
    return {section.name: section for section in ranked}


def chosen_sections(wanted: Sequence[str] | None = None) -> list[Section]:
    """The sections asked for, or all of the project's own that have claims, in the order of a report. Raises
    UserError for one that there is not."""
    known = known_sections()
    for name in wanted or ():
        if name not in known:
            raise UserError(f"section {name}: must be one of {', '.join(known)}")
    own = sections_dirs()[0]
    return [
        section
        for section in known.values()
        if (section.name in wanted if wanted else section.file and section.folder.parent == own)
    ]


def arm_label(arm: str) -> str:
    """What conf/arm calls an arm; its name if it says nothing."""
    for path in _files("arm"):
        if path.stem == arm:
            return str(yaml.safe_load(path.read_text(encoding="utf-8")).get("label", arm))
    return arm


def _files(group: str) -> list[Path]:
    """The option files of a config group; ours first."""
    return [path for folder in conf_dirs() for path in sorted((folder / group).glob("*.yaml"))]


def _section(name: str, stem: str, content: dict) -> Section:
    params = content.get("hydra", {}).get("sweeper", {}).get("params", {})
    arms = _swept(params, "arm")
    folders = [folder / name for folder in sections_dirs()]
    folder = next((f for f in folders if (f / "claims.yaml").is_file()), folders[0])
    file = folder / "claims.yaml"
    allowed = dict.fromkeys([*arms, *(path.stem for path in _files("arm"))])
    return Section(
        name=name,
        experiment=stem,
        arms=arms,
        budgets=_swept(params, "budget") or (SHORT,),
        exclusive=bool(content.get("exclusive", False)),
        folder=folder,
        file=load_section_file(file, allowed) if file.is_file() else None,
    )


def _swept(params: dict, group: str) -> tuple[str, ...]:
    """The options of a group that a sweep runs; empty if it does not say."""
    listed = params.get(group, params.get(f"+{group}", ""))
    names = listed if isinstance(listed, list) else str(listed).split(",")
    return tuple(name.strip() for name in names if name.strip())
