"""Numbers of OpenMMLab's MFF (a tiny random model) and of the published sizes."""

import re

import pytest
import torch
from parity import (
    assert_official,
    count,
    full_mae,
    in_order_of,
    load_golden,
    relative,
    tiny_mae,
)
from torch import Tensor

from mim_zoo.engine.layer_decay import LayerDecayConstructor
from mim_zoo.models import MIM

NAMES = (  # OpenMMLab's, ours; the first that matches decides
    (r'backbone\.proj_', 'neck.fusions.0.proj_'),
    (r'backbone\.layers\.', 'backbone.blocks.'),
    (r'backbone\.ln1\.', 'backbone.norm.'),
    (r'neck\.ln1\.', 'head.decoders.0.norm.'),
    (r'neck\.mask_token', 'head.decoders.0.mask_token'),
    (r'neck\.decoder_', 'head.decoders.0.'),
)
BELOW = (
    (r'\.projection\.', '.proj.'),
    (r'(blocks\.\d+)\.ln(\d)\.', r'\1.norm\2.'),
    (r'\.ffn\.layers\.0\.0\.', '.mlp.fc1.'),
    (r'\.ffn\.layers\.1\.', '.mlp.fc2.'),
)


def to_ours(name: str) -> str:
    """A key of OpenMMLab's MFF under our name."""
    for theirs, ours in NAMES:
        if re.match(theirs, name):
            name = re.sub(theirs, ours, name, count=1)
            break
    for theirs, ours in BELOW:
        name = re.sub(theirs, ours, name)
    return name


@pytest.fixture
def golden() -> tuple[MIM, dict[str, Tensor]]:
    neck = dict(type='LevelFusion', outputs=[[0, 2, 5]])
    model = tiny_mae(depth=6, type='MFF', neck=neck)
    return model, load_golden(model, 'mff_tiny.safetensors', to_ours)


def test_official_numbers(golden: tuple[MIM, dict[str, Tensor]]) -> None:
    model, numbers = golden
    assert_official(
        model,
        numbers,
        numbers['mask'].bool(),
        model.backbone.blocks[0].attn.qkv.weight,
        in_order_of(numbers['noise']),
    )
    shares = torch.stack(list(model.neck.log_values().values()))
    assert shares.shape == (3,)
    assert relative(shares, numbers['fusion_weights']) < 1e-5


@pytest.mark.parametrize(
    'arch, total, extra',
    [
        ('base', 114_860_806, 2_952_966),
        ('small', 48_317_446, 739_206),
    ],
)
def test_pretraining_totals(arch: str, total: int, extra: int) -> None:
    neck = dict(type='LevelFusion', outputs=[[0, 2, 4, 6, 8, 11]])
    model = full_mae(arch, type='MFF', neck=neck)
    assert count(model.neck) == extra
    assert count(model) == total == count(full_mae(arch)) + extra


@pytest.mark.parametrize(
    'options, extra',
    [
        (dict(proj='mlp'), 5_905_926),
        (dict(fusion='attention'), 10_040_832),
        (dict(outputs='all'), 6_496_524),
        (dict(outputs='all', proj='none'), 12),
    ],
)
def test_totals_of_the_variants(options: dict, extra: int) -> None:
    neck = dict(type='LevelFusion', outputs=[[0, 2, 4, 6, 8, 11]]) | options
    model = full_mae('base', type='MFF', neck=neck)
    assert count(model) == 111_907_840 + extra


def test_weight_decay_acts_on_the_shares(golden: tuple[MIM, dict[str, Tensor]]) -> None:
    model, _ = golden
    shares = model.neck.fusions[0].proj_weights
    optimizer = dict(type='AdamW', lr=1e-3, weight_decay=0.05)
    groups = LayerDecayConstructor(dict(optimizer=optimizer)).param_groups(model)
    (group,) = (g for g in groups if any(p is shares for p in g['params']))
    assert group.get('weight_decay', 0.05) == 0.05
