"""What a run's parameters say of beta, N and K, by which the UI groups."""

import pytest

from sbp.run.callbacks.description import resolved_params
from sbp.tracking.recording import honest_choices
from tests.conftest import make_config, make_trainer

CHOSEN = {"beta": "auto", "staleness": "every_epoch"}


@pytest.mark.parametrize(
    ("overrides", "beta", "staleness"),
    [
        ([], "auto", "every_epoch"),
        (["beta.value=12"], "12", "every_epoch"),
        (["beta=b8"], "8", "every_epoch"),
        (["beta.value=0.5", "staleness.every=9"], "0.5", "stale"),
        (["staleness=smart", "staleness.every=3"], "auto", "stale_smart"),
        (["staleness=reuse"], "auto", "reuse"),
    ],
)
def test_a_value_that_is_set_counts_more_than_the_name_of_the_option(overrides, beta, staleness):
    honest = honest_choices(make_config(*overrides), {**CHOSEN, "scale": "smoke"})
    assert honest == {"beta": beta, "staleness": staleness, "scale": "smoke"}


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["beta.value=12"], {"resolved.beta": "12", "resolved.N": "1"}),
        (["beta=b2", "staleness=stale", "staleness.every=9"], {"resolved.beta": "2", "resolved.N": "9"}),
        (["beta=b2", "staleness=reuse"], {"resolved.beta": "2"}),
        # one per cent of 32 x 32 pixels
        (
            ["beta=b2", "aggregation=topk_mean"],
            {"resolved.beta": "2", "resolved.N": "1", "resolved.K": "10"},
        ),
        # 12 of 60 images hold a scratch, 3 others the bar: 1 / (1.25 * 15 / 60) - 1
        (["beta=auto"], {"resolved.beta": "2.2", "resolved.N": "1"}),
        (["selection=random", "beta=b8"], {"resolved.beta": "8"}),
        (["selection=random", "selection.fraction=0.5"], {}),
        (["selection=balanced"], {}),
    ],
)
def test_resolved_params_are_those_that_the_run_uses(toy_data, overrides, expected):
    assert resolved_params(make_trainer(toy_data, *overrides)) == expected
