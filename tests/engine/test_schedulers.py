"""The learning rate of pre-training in stages."""

import math

import pytest
import torch
from mmengine.optim import OptimWrapper

from mim_zoo.engine.schedulers import warmup_cosine
from mim_zoo.registry import PARAM_SCHEDULERS


def curve(steps: int, **given: object) -> list[float]:
    """The rate before each of so many steps."""
    optimizer = torch.optim.AdamW([torch.zeros(1, requires_grad=True)], lr=2.4e-3)
    scheduler = PARAM_SCHEDULERS.build(
        dict(type='StagedCosineLR', optimizer=OptimWrapper(optimizer), **given)
    )
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]['lr'])
        scheduler.step()
    return rates


def test_two_stages_are_the_published_ones() -> None:
    """2209.03917: 2.4e-3 at epoch 40 of a stage, half of it at 420, then again."""
    length = 5
    rates = curve(
        1600 * length,
        warmup=40,
        boundaries=[800],
        end=1600,
        epoch_length=length,
        convert_to_iter_based=True,
    )
    for stage in (0, 800):
        at = {epoch: rates[(stage + epoch) * length] for epoch in (0, 20, 40, 420)}
        assert at[0] == 0
        assert at[20] == pytest.approx(1.2e-3)
        assert at[40] == pytest.approx(2.4e-3)
        assert at[420] == pytest.approx(1.2e-3)
        last = rates[(stage + 800) * length - 1]
        assert 0 < last < 1e-8
        progress = (100 - 40) / 760
        assert rates[(stage + 100) * length] == pytest.approx(
            2.4e-3 * 0.5 * (1 + math.cos(math.pi * progress))
        )
    assert rates[: 800 * length] == rates[800 * length :]


def test_one_stage_with_a_floor() -> None:
    rates = curve(10, warmup=2, end=10, eta_min=1e-4, by_epoch=False)
    assert rates[0] == pytest.approx(1e-4)
    assert rates[2] == pytest.approx(2.4e-3)
    assert rates[-1] > 1e-4
    assert min(rates[1:]) == rates[-1]


def test_a_stage_needs_room_for_its_warm_up() -> None:
    with pytest.raises(ValueError, match=r'stages of \[2, 8\] iterations.*warmup'):
        curve(1, warmup=2, boundaries=[2], end=10, by_epoch=False)
    with pytest.raises(ValueError, match='expected an end'):
        curve(1, warmup=2, by_epoch=False)


def test_share_of_the_peak() -> None:
    assert warmup_cosine(0, 0, 10) == 1
    assert warmup_cosine(10, 2, 10) == pytest.approx(0)
