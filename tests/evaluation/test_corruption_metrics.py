import pytest

from mim_zoo.datasets.corruptions import CORRUPTIONS, SEVERITIES
from mim_zoo.evaluation.corruptions import (
    ALEXNET,
    corruption_metrics,
    mean_error,
    normalized_error,
)

WHOLE = {name: dict.fromkeys(SEVERITIES, 40.0) for name in CORRUPTIONS}


def test_plain_is_the_mean_over_corruptions_of_that_over_severities():
    assert mean_error({'fog': {1: 10.0, 5: 30.0}, 'snow': {1: 50.0}}) == 35.0


def test_alexnet_itself_has_100():
    errors = {name: dict.fromkeys(SEVERITIES, ALEXNET[name]) for name in CORRUPTIONS}
    assert normalized_error(errors) == pytest.approx(100)
    # a known relation: half of AlexNet's errors are 50
    halved = {n: {s: e / 2 for s, e in found.items()} for n, found in errors.items()}
    assert normalized_error(halved) == pytest.approx(50)


def test_normalised_only_where_it_has_a_meaning():
    assert set(corruption_metrics(WHOLE, True)) == {'mCE_plain', 'mCE_normalised'}
    assert set(corruption_metrics(WHOLE, False)) == {'mCE_plain'}
    part = {**WHOLE, 'fog': {1: 40.0}}
    assert set(corruption_metrics(part, True)) == {'mCE_plain'}
    with pytest.raises(ValueError, match='4 of 75 errors are missing, such as fog 2'):
        normalized_error(part)
