"""Every section's claims.yaml, what its reader says about mistakes, and how sections are found."""

from pathlib import Path

import pytest
import yaml

from sbp.errors import UserError
from sbp.report import sections
from sbp.report.section_file import load_section_file
from sbp.report.sections import arm_label, chosen_sections, known_sections
from tests.conftest import ROOT

FILES = sorted((ROOT / "experiments").glob("*/claims.yaml"))
SECTIONS = chosen_sections()


def test_every_file_is_a_sections_and_has_a_place_of_its_own():
    assert {section.folder / "claims.yaml" for section in SECTIONS} == set(FILES)
    orders = [section.file.order for section in SECTIONS]
    assert orders == sorted(set(orders))
    assert SECTIONS[0].name == "convergence"
    assert [section.name for section in SECTIONS if section.file.headline] == ["convergence"]


def test_every_claim_of_the_sources_is_judged_once():
    ids = [claim.id for section in SECTIONS for claim in section.file.claims]
    assert len(ids) == len(set(ids))
    assert {f"C{n}" for n in range(1, 25)} <= set(ids)
    without_rule = {claim.id for s in SECTIONS for claim in s.file.claims if not claim.parts}
    assert without_rule == {"C24"}  # about classification, which this grid does not train


MEASURE = {"arm": "a", "metric": "val/map"}
GOOD = {
    "title": "T",
    "question": "Q?",
    "order": 3,
    "figures": [{"kind": "curves", "title": "F", "metrics": {"val/map": "mAP"}}],
    "claims": [
        {
            "id": "C1",
            "source": "blog",
            "text": "t",
            "parts": [{"left": MEASURE, "right": {"arm": "b"}, "region": [0.0, None]}],
        }
    ],
}


def written(tmp_path: Path, content) -> Path:
    path = tmp_path / "some_section" / "claims.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return path


def load(tmp_path: Path, content):
    return load_section_file(written(tmp_path, content), ["a", "b"])


def test_the_right_side_is_as_the_left_where_it_says_nothing(tmp_path):
    section = load(tmp_path, GOOD)
    (part,) = section.claims[0].parts
    assert part.right is not None
    assert (part.right.arm, part.right.metric, part.compare) == ("b", "val/map", "difference")
    assert (part.low, part.high, section.order) == (0.0, None, 3)


def part_with(**keys) -> dict:
    claim = GOOD["claims"][0] | {"parts": [{"left": MEASURE, "region": [0.0, 1.0], **keys}]}
    return GOOD | {"claims": [claim]}


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("title: [", r"some_section/claims.yaml: not valid YAML"),
        ("just text", r"must be a mapping"),
        (GOOD | {"tilte": "x"}, r"tilte: no such key; allowed: .*title"),
        (GOOD | {"order": "first"}, r"order: .*'first'.* could not be converted to Float"),
        ({"title": "T"}, r"question: is missing"),
        (GOOD | {"claims": GOOD["claims"] * 2}, r"claim C1: is there twice"),
        (GOOD | {"claims": ["C1"]}, r"claim \?: "),
        (GOOD | {"claims": "C1"}, r"claims: must be a list"),
        (GOOD | {"figures": [{"kind": "pie", "title": ""}]}, r"figure: kind=pie: must be one of curves, "),
        (GOOD | {"figures": [{"kind": "bars", "title": "", "arms": ["c"]}]}, r"arm=c: must be one of a, b"),
        (GOOD | {"figures": [{"kind": "curves", "title": "", "x": "time"}]}, r"x=time: must be one of epoch"),
        (part_with(left=MEASURE | {"arm": "c"}), r"claim C1: arm=c: must be one of a, b"),
        (part_with(left=MEASURE | {"ram": "c"}), r"claim C1: .*ram: no such key; allowed: arm, at"),
        (
            part_with(left=MEASURE | {"level": "high"}),
            r"claim C1: .*level: .*could not be converted to Float",
        ),
        (part_with(left="a"), r"claim C1: .*left: "),
        (
            part_with(left=MEASURE | {"statistic": "median"}),
            r"claim C1: statistic=median: must be one of final",
        ),
        (part_with(left=MEASURE | {"statistic": "at"}), r"at=None: must be between 0 and 1"),
        (part_with(left=MEASURE | {"statistic": "reach", "level": 2}), r"level=2.0: must be above 0"),
        (part_with(left={"arm": "a"}), r"claim C1: .*left.metric: is missing"),
        (part_with(region=[None, None]), r"must be bounded"),
        (part_with(region=[2, 1]), r"must be ordered, low at most high"),
        (part_with(region=[1]), r"region=\[1.0\]: must be \[low, high\]"),
        (part_with(region=3), r"claim C1: .*region: "),
        (part_with(compare="ratio"), r"compare=ratio: must be value, as there is no right"),
        (part_with(source="x"), r"source: no such key"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_place(tmp_path, content, line):
    with pytest.raises(UserError, match=line) as error:
        load(tmp_path, content)
    assert "\n" not in str(error.value)
    assert "some_section/claims.yaml" in str(error.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"nowhere/claims.yaml: no such file"):
        load_section_file(tmp_path / "nowhere" / "claims.yaml", [])


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Writes files into a project that has our sections, and into plugin/ beside it."""
    for path in FILES:
        copy = tmp_path / "experiments" / path.parent.name / path.name
        copy.parent.mkdir(parents=True)
        copy.write_bytes(path.read_bytes())
    shown = [tmp_path / "experiments", tmp_path / "plugin/experiments"]
    configs = [ROOT / "conf", tmp_path / "conf", tmp_path / "plugin/conf"]
    monkeypatch.setattr(sections, "sections_dirs", lambda: shown)
    monkeypatch.setattr(sections, "conf_dirs", lambda: configs)
    known_sections.cache_clear()

    def write(path: str, content: dict) -> None:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(yaml.safe_dump(content))
        known_sections.cache_clear()

    yield write
    known_sections.cache_clear()


def experiment(name: str, arms: str, key: str = "arm", **more) -> dict:
    return {"section": name, "hydra": {"sweeper": {"params": {key: arms}}}, **more}


@pytest.mark.parametrize("key", ["arm", "+arm"])
def test_a_section_of_ones_own_is_an_experiment_file_and_its_claims(own, key):
    own("conf/experiment/mine.yaml", experiment("mine", "baseline, focus_all,own_arm", key))
    assert "mine" not in [s.name for s in chosen_sections()]  # nothing to judge: reported when asked for
    (mine,) = chosen_sections(["mine"])
    assert (mine.arms, mine.title, mine.file) == (("baseline", "focus_all", "own_arm"), "Mine", None)
    claims = [{"id": "M1", "source": "sbp", "text": "t", "parts": [{"left": MEASURE | {"arm": "own_arm"}}]}]
    claims[0]["parts"][0] |= {"right": {"arm": "random_b2"}, "region": [0, None]}  # an arm of another section
    own("experiments/mine/claims.yaml", {"title": "My own", "question": "Q?", "order": 2.5, "claims": claims})
    names = [s.name for s in chosen_sections()]
    assert names[2:5] == ["first_experiment", "mine", "efficiency"]
    (mine,) = chosen_sections(["mine"])
    assert (mine.title, mine.folder.name) == ("My own", "mine")


def test_a_plugins_section_is_there_when_it_is_asked_for(own):
    own("plugin/conf/experiment/theirs.yaml", experiment("theirs", "their_arm"))
    own("plugin/conf/arm/their_arm.yaml", {"label": "theirs, at best"})
    own("plugin/experiments/theirs/claims.yaml", {"title": "Theirs", "question": "Q?", "order": 1.5})
    assert "theirs" not in [s.name for s in chosen_sections()]
    (theirs,) = chosen_sections(["theirs"])
    assert (theirs.title, theirs.arms) == ("Theirs", ("their_arm",))
    assert [arm_label(arm) for arm in ("their_arm", "random_b2", "nobodys")] == [
        "theirs, at best",
        "random, as many as beta 2",
        "nobodys",
    ]


def test_two_sections_cannot_have_the_same_place(own):
    own("conf/experiment/mine.yaml", experiment("mine", "baseline"))
    own("experiments/mine/claims.yaml", {"title": "T", "question": "Q?", "order": 4})
    with pytest.raises(UserError, match=r"two_defects/claims.yaml: order=4: section mine has it too"):
        chosen_sections()


def test_a_section_without_order_comes_last(own):
    own("conf/experiment/a_mine.yaml", experiment("a_mine", "baseline"))
    own("experiments/a_mine/claims.yaml", {"title": "T", "question": "Q?"})
    assert [s.name for s in chosen_sections()][-1] == "a_mine"


def test_a_section_that_there_is_not_is_refused_by_name():
    with pytest.raises(UserError, match=r"section mine: must be one of convergence, preliminary_study, "):
        chosen_sections(["mine"])
