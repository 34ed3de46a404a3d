"""Every section's claims.yaml, and what its reader says about mistakes."""

from pathlib import Path

import pytest
import yaml

from sbp.config.preflight import check_overrides
from sbp.errors import UserError
from sbp.report.section_file import load_section
from sbp.report.study import ORDER
from tests.conftest import ROOT

FILES = sorted((ROOT / "experiments").glob("*/claims.yaml"))
SECTIONS = {path.parent.name: load_section(path) for path in FILES}


def test_there_is_a_file_for_every_section_and_none_beside():
    assert set(SECTIONS) == set(ORDER)


def test_every_claim_of_the_sources_is_judged_once():
    ids = [claim.id for section in SECTIONS.values() for claim in section.claims]
    assert len(ids) == len(set(ids))
    assert {f"C{n}" for n in range(1, 25)} <= set(ids)
    without_rule = {claim.id for s in SECTIONS.values() for claim in s.claims if not claim.parts}
    assert without_rule == {"C24"}  # about classification, which this grid does not train


@pytest.mark.parametrize("name", ORDER)
def test_a_section_shows_the_arms_that_its_experiment_runs(name):
    jobs = check_overrides(["-m", f"+experiment={name}", "scale=smoke"]).jobs
    experiment = yaml.safe_load((ROOT / f"conf/experiment/{name}.yaml").read_text())
    arms = experiment["hydra"]["sweeper"]["params"]["+arm"].split(",")
    assert len(jobs) == len(arms)
    assert sorted(SECTIONS[name].arms) == sorted(arms)
    borrowed = {arm for section in SECTIONS.values() for arm in section.arms}
    assert set(SECTIONS[name].borrows) <= borrowed


MEASURE = {"arm": "a", "metric": "val/map"}
GOOD = {
    "title": "T",
    "question": "Q?",
    "arms": ["a", "b"],
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


def test_the_right_side_is_as_the_left_where_it_says_nothing(tmp_path):
    (part,) = load_section(written(tmp_path, GOOD)).claims[0].parts
    assert part.right is not None
    assert (part.right.arm, part.right.metric, part.compare) == ("b", "val/map", "difference")


def part_with(**keys) -> dict:
    claim = GOOD["claims"][0] | {"parts": [{"left": MEASURE, "region": [0.0, 1.0], **keys}]}
    return GOOD | {"claims": [claim]}


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("title: [", r"some_section/claims.yaml: not valid YAML"),
        ("just text", r"must be a mapping"),
        (GOOD | {"tilte": "x"}, r"tilte: no such key; allowed: .*title"),
        ({"title": "T", "arms": []}, r"question: is missing"),
        (GOOD | {"claims": GOOD["claims"] * 2}, r"claim C1: is there twice"),
        (GOOD | {"figures": [{"kind": "pie", "title": ""}]}, r"figure: kind=pie: must be one of curves, "),
        (GOOD | {"figures": [{"kind": "bars", "title": "", "arms": ["c"]}]}, r"arms=c: must be one of a, b"),
        (part_with(left=MEASURE | {"arm": "c"}), r"claim C1: left: arm=c: must be one of a, b"),
        (part_with(left=MEASURE | {"statistic": "median"}), r"statistic=median: must be one of final"),
        (part_with(left=MEASURE | {"statistic": "at"}), r"at=None: must be between 0 and 1"),
        (part_with(left=MEASURE | {"statistic": "reach", "level": 2}), r"level=2: must be above 0"),
        (part_with(left={"arm": "a"}), r"left: metric: is missing"),
        (part_with(region=[None, None]), r"region: must have a bound"),
        (part_with(region=[2, 1]), r"must have low at most high"),
        (part_with(region=3), r"region=3: must be \[low, high\]"),
        (part_with(compare="ratio"), r"compare=ratio: needs right"),
        (part_with(source="x"), r"source: no such key"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_place(tmp_path, content, line):
    with pytest.raises(UserError, match=line) as error:
        load_section(written(tmp_path, content))
    assert "\n" not in str(error.value)
    assert "some_section/claims.yaml" in str(error.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"nowhere/claims.yaml: no such file"):
        load_section(tmp_path / "nowhere" / "claims.yaml")
