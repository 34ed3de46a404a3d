"""The command line and the config files: every option composes, every mistake is one clear line."""

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from sbp.config import flattened
from sbp.config.paths import conf_dir
from sbp.config.preflight import check_overrides
from sbp.config.schemas import OPEN_GROUPS, names
from sbp.errors import UserError
from tests.conftest import ROOT, make_config

CONF = ROOT / "conf"
GROUPS = sorted(
    p.name for p in CONF.iterdir() if p.is_dir() and p.name not in ("experiment", "arm", "hydra", "base")
)


def options() -> list[tuple[str, str]]:
    return [(group, path.stem) for group in GROUPS for path in sorted((CONF / group).glob("*.yaml"))]


def test_the_groups_and_options_that_the_documentation_promises_are_there():
    expected = {
        "defects": "all common rare",
        "selection": (
            "auto balanced composer frequency_of_use infobatch jiang kakurenbo none per_defect random "
            "reducible repeat_rare replay selective sliding stratified"
        ),
        "aggregation": "maskdefectborders max mean mindefects_maxbackground shift softmin topk_mean",
        "guard": "dynamics none",
        "beta": "auto b1 b16 b2 b3 b32 b4 b8",
        "staleness": "every_epoch hidden reuse smart stale stale_smart",
        "upsampling": "none rare",
        "augmentation": "cifar digits flips inspection none",
        "loss": "bce cross_entropy dice_bce focal ohem_bce",
        "scale": "cpu gpu smoke",
        "tracking": "local none server",
        "trainer": "cpu gpu",
    }
    found: dict[str, set[str]] = {}
    for group, option in options():
        found.setdefault(group, set()).add(option)
    for group, promised in expected.items():
        assert found[group] == set(promised.split()), group


CLASSIFICATION = ("cross_entropy", "resnet8", "timm", "cifar", "digits")
"""Options that go with a data set for classification."""
PRESETS = {"sliding": "stratified", "repeat_rare": "stratified", "adamw_pretrained": "adamw"}
"""Options that are another one with other values."""
OWN_IMAGES = ("auto", "coco", "image_folder", "labelme", "masks", "table", "voc", "yolo")
"""Layouts of images of one's own: their defects are named, or found in data.root."""


@pytest.mark.parametrize(("group", "option"), options())
def test_every_option_composes_and_says_what_it_is(group, option, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    named = ["data.defects=[scratch,dent]"] if group == "data" and option in OWN_IMAGES else []
    if option in CLASSIFICATION:
        named = ["data=mnist_small"]
    config = make_config(*named, f"{group}={option}")
    if group in OPEN_GROUPS and group != "model":
        assert getattr(config, group).name == PRESETS.get(option, option)
    assert (CONF / group / f"{option}.yaml").read_text().startswith("# ")


@pytest.mark.parametrize("path", sorted((CONF / "arm").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_arm_composes_and_says_what_it_is(path: Path):
    config = make_config(f"arm={path.stem}")
    assert config.label
    assert path.read_text().startswith("# @package _global_\n# ")


def test_auto_selects_tiles_where_there_are_some():
    images = ("data=masks", "data.root=FOLDER", "data.defects=[dent]", "selection=auto")
    assert make_config(*images).selection.unit == "image"
    assert make_config(*images, "data.fit=tile").selection.unit == "tile"


@pytest.mark.parametrize("launcher", ["basic", "parallel", "slurm", "slurm_local", "ray_cluster"])
def test_every_launcher_that_the_documentation_names_composes(launcher):
    with initialize_config_dir(conf_dir(), version_base="1.3"):
        cfg = compose("config", overrides=[f"hydra/launcher={launcher}"], return_hydra_config=True)
    assert cfg.hydra.launcher._target_


def test_params_hold_every_value_by_its_dotted_key():
    flat = flattened(make_config("beta=b2", "aggregation=topk_mean"))
    assert flat["beta.value"] == 2.0
    assert flat["aggregation.fraction"] == 0.01
    assert flat["data.defects"] == ["scratch", "broken"]
    assert flat["budget.compute"] == 3


MISTAKES = [
    ("beta.value=-1", "beta.value=-1.0: must be at least 0"),
    ("beta.value=nan", "beta.value=nan: must be at least 0"),
    ("beta.value=abc", "beta.value=abc: .*Float"),
    ("beta.valu=3", r"beta.valu: no such key; allowed in beta: margin, value \(did you mean value\?\)"),
    ("+beta.valu=3", "beta.valu: no such key; allowed here: margin, value"),
    ("seed=1,2", r"seed=1,2: several values need a sweep, -m; a list goes in \[\.\.\.\], a text with"),
    ("output_root=/dev/null/x", r"output_root=/dev/null/x: cannot be written \(/dev/null is no folder\)"),
    ("hydra.run.dir=/dev/null/x", r"hydra\.run\.dir=/dev/null/x: cannot be written"),
    ("hydra.run.dir=''", r"hydra\.run\.dir=: must be the path of a folder"),
    ("model.decoder_channels=[0,8,8,8]", r"model\.decoder_channels=0: must be between 1 and 8192"),
    ("trainer.threads=1024", r"trainer\.threads=1024: must be at most \d+ on this machine"),
    ("tracking.uri='sqlite:///:memory:'", r"tracking\.uri=sqlite:///:memory:: must be an address"),
    ("beta=8", "beta=8: must be the name of an option; .*beta=b8 or beta.value=8"),
    ("beta=b9", "beta=b9: must be one of auto, b1, b16"),
    ("aggregation=maxx", r"aggregation=maxx: must be one of .*max, mean.* \(did you mean max\?\)"),
    ("agregation=max", r"agregation: no such key; .* \(did you mean aggregation\?\)"),
    ("aggregation.name=topk_mean", "choose the option itself, aggregation=topk_mean"),
    ("aggregation.name=median", "aggregation.name=median: must be one of max, mean"),
    ("defects.focus=[dent]", "defects.focus=dent: must be one of scratch, broken"),
    ("defects.focus=[]", "defects.focus=.*: must be at least one defect"),
    ("staleness.every=0", "staleness.every=0: must be at least 1"),
    ("staleness.every=two", "staleness.every=two: .*Integer"),
    ("repeat=true", "repeat=true: is called if_exists=retrain now"),
    ("repeat=false", "repeat=false: is called if_exists=reuse now"),
    ("resume=true", "resume=true: is called if_exists=resume now"),
    ("+resume=False", "resume=False: is called if_exists=reuse, or if_exists=retrain now"),
    ("alone=true", "alone=true: is called exclusive=true now"),
    ("scale.photo_size=64", "scale.photo_size=64: is called scale.real_image_size=64 now"),
    ("if_exists=maybe", "if_exists=maybe: must be one of auto, reuse, resume, retrain"),
    (
        "arm=focus_al",
        r"arm=focus_al: must be one of arrival_balanced, .*upsampled_baseline \(did you mean focus_all\?\)",
    ),
    ("experiment=two", "experiment=two: must be one of active_learning, .*classification, convergence, "),
    ("seed=-1", "seed=-1: must be at least 0"),
    ("seed=null", "seed=null: .*not Optional"),
    ("seed.x=1", "seed.x=1: .*Integer"),
    ("budget.compute=null", "one of budget.epochs, budget.compute and budget.time_s"),
    ("budget.compute=0", "budget.compute=0.0: must be above 0"),
    ("data.image_size=50", "data.image_size=50: must be a multiple of 8, the model's stride"),
    ("data.defects=scratch", r"data\.defects=scratch: must be a list, as in data\.defects=\[scratch\]"),
    ("data=mvtec", r"data=mvtec: must be one of auto, .*coco, .*yolo \(did you mean mvtec_ad\?\)"),
    ("trainer.device=tpu", "trainer.device=tpu: must be cpu, cuda"),
    ("trainer.precision=fp8", "trainer.precision=fp8: must be one of fp32, bf16"),
    ("scoring.scale_factor=1.5", "scoring.scale_factor=1.5: must be above 0, at most 1"),
    ("model.architecture=alexnet", "model.architecture=alexnet: must be one of unet"),
    ("optimizer.lr=0", "optimizer.lr=0.0: must be above 0"),
    ("evaluation.iou_thresholds=[0.5,2]", "evaluation.iou_thresholds=.*: must be one or more numbers"),
    (
        "selection.fraction=0.5",
        "selection.fraction: no such key; allowed in selection: name, unit, warmup_epochs",
    ),
    ("tracking=server", "tracking.uri=null: must be the server's address"),
    ("tags={study:a}", r"tags.study: no such key yet; a new one goes in as \+tags.study=TEXT"),
    ("tags.study=a", r"tags.study: no such key yet; a new one goes in as \+tags.study=TEXT"),
    ("beta={valu:3}", r"beta.valu: no such key; allowed in beta: margin, value \(did you mean value\?\)"),
    ("beta=null", "beta=null: must be the name of an option"),
    ("data.defects={a:1}", r"data.defects={a:1}: Cannot merge"),
    ("+tags={a+b:1}", r"tags=a\+b: must be a name of at most 200 letters"),
    ("+tags." + "long" * 60 + "=1", r"tags=long.*\.\.\.: must be a name of at most 200 letters"),
    ("section='../up'", r"section=\.\./up: must be a name of at most 200"),
    ("tracking.experiment=" + "long" * 200, "tracking.experiment=long.*: must be a name of at most 500"),
    ("+foo=1", "foo: no such key"),
    ("+foo#bar=1", r"\+foo#bar=1: Hydra cannot read this; .* as 'KEY=\"TEXT\"'"),
    ("defects.focus=[scratch", r"defects.focus=\[scratch: Hydra cannot read this; a list goes in \[\.\.\.\]"),
    ("label='it's'", "label='it's': Hydra cannot read this"),
    ("seed", "seed: must be KEY=VALUE"),
]


@pytest.mark.parametrize(("override", "message"), MISTAKES, ids=[m[0][:40] for m in MISTAKES])
def test_a_mistake_is_one_line_that_names_the_key_and_what_is_allowed(override, message, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(UserError, match=message) as caught:
        check_overrides([override])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("place", ["a${x}b", "file/below"])
def test_an_output_folder_that_cannot_be_is_one_line_before_hydra_makes_it(tmp_path, monkeypatch, place):
    (tmp_path / "file").touch()
    monkeypatch.setenv("SBP_OUTPUT", str(tmp_path / place))
    with pytest.raises(UserError, match=r"SBP_OUTPUT=.*: (must not hold|cannot be written \(.*is no folder)"):
        check_overrides([])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["aggregation=topk_mean", "aggregation.k=5"], "give exactly one"),
        (["aggregation=maskdefectborders", "aggregation.width=99999"], "aggregation.width=99999: must be at"),
        (
            ["aggregation=topk_mean", "aggregation.k=5000", "aggregation.fraction=null"],
            "aggregation.k=5000: must be at most the image's 4096 pixels",
        ),
        (["aggregation=topk_mean", "aggregation.fraction=0"], "aggregation.fraction=0.0: must be above 0"),
        (["aggregation=shift", "staleness=reuse"], "aggregation=shift staleness=reuse"),
        (["scoring.weights=ema", "staleness=reuse"], "scoring.weights=ema staleness=reuse: its scores are"),
        (
            ["scoring.weights=ema", "scoring.ema_decay=1"],
            "scoring.ema_decay=1.0: must be at least 0 and below",
        ),
        (["guard=dynamics", "selection=balanced"], "guard=dynamics selection=balanced: the guard watches"),
        (["guard=dynamics", "guard.remaining=1.5"], "guard.remaining=1.5"),
        (
            ["aggregation=softmin", "aggregation.temperature=0"],
            "aggregation.temperature=0.0: must be above 0",
        ),
        (["selection=random", "selection.fraction=1.5"], "selection.fraction=1.5: must be above 0"),
        (["selection=balanced", "selection.healthy_ratio=-1"], "selection.healthy_ratio=-1.0"),
        (["staleness=reuse", "staleness.refresh_fraction=2"], "staleness.refresh_fraction=2.0"),
        (["data=magnetic_tile", "data.rare=[scratch]"], "data.rare=scratch: must be one of blowhole, crack"),
        (["-m", "beta=b2,b99"], "beta=b99: must be one of"),
        (["-m", "beta.value=2,8,-3"], "beta.value=-3"),
        (["-m", "seed=0,1", "staleness=stale", "staleness.every=4,0"], "staleness.every=0"),
    ],
)
def test_what_does_not_fit_together_is_found_also_inside_a_sweep(overrides, message):
    with pytest.raises(UserError, match=message):
        check_overrides(overrides)


def test_jobs_of_several_seeds_are_what_each_would_be_alone():
    """They are composed once."""
    jobs = check_overrides(["-m", "arm=focus_all,balanced", "seed=1,2", "label=x"]).jobs
    alone = [["arm=focus_all"], ["arm=focus_all"], ["arm=balanced"], ["arm=balanced"]]
    for job, arm, seed in zip(jobs, alone, (1, 2, 1, 2), strict=True):
        (same,) = check_overrides([*arm, f"seed={seed}", "label=x"]).jobs
        assert (job.config, job.config.seed) == (same.config, seed)
    assert jobs[0].config.data is not jobs[1].config.data


def test_legal_sweeps_pass():
    sweep = ["-m", "aggregation=max,mean", "beta=b2,b8", "scale=smoke", "seed=range(0,3)"]
    assert len(check_overrides(sweep).jobs) == 2 * 2 * 3
    schemes = {job.config.aggregation.name for job in check_overrides(["-m", "aggregation=glob(*)"]).jobs}
    assert schemes == {path.stem for path in (CONF / "aggregation").glob("*.yaml")}


@pytest.mark.parametrize(
    "place", ["größe/neu", "set (new)", "50% off", "a:b=c", "日本", "plain", "a b", "it's", r"part_(\d+)$"]
)
def test_a_text_needs_no_quotes_beside_those_of_the_shell(place):
    if "'" in place:
        with pytest.raises(UserError, match="Hydra cannot read this"):
            check_overrides([f"run_name={place}"])
        place = f'"{place}"'
    (job,) = check_overrides([f"run_name={place}"]).jobs
    assert job.config.run_name == place.strip('"')


def test_every_class_that_is_registered_has_its_option():
    for group in set(OPEN_GROUPS) - {"model"}:
        found = {path.stem for path in (CONF / group).glob("*.yaml")}
        assert found - PRESETS.keys() == set(names(group)), group


@pytest.mark.parametrize("plus", ["", "+"])
def test_experiment_and_arm_are_chosen_like_any_group_with_or_without_a_plus(plus):
    plan = check_overrides([f"{plus}experiment=two_defects", f"{plus}arm=focus_all_b2", "scale=smoke"])
    (job,) = plan.jobs
    assert plan.sweep
    assert (job.config.section, job.config.beta.value) == ("two_defects", 2.0)
    assert job.config.evaluation.count == 16  # the experiment's, not that of config.yaml
