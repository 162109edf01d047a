"""How fast each layer of MixMIM-B learns: our rule, the official one (2205.13137)."""

import logging

import pytest
import torch
from mmengine.logging import MMLogger
from torch import nn

import mim_zoo.models  # noqa: F401
from mim_zoo.engine import LayerDecayConstructor
from mim_zoo.registry import MODELS

LR = 2e-3
DEPTHS = (2, 2, 18, 2)
OFFICIAL = dict(layer_decay_rate=0.7, head_with_last_block=True)


@pytest.fixture(scope='module')
def model() -> nn.Module:
    with torch.device('meta'):
        return MODELS.build(
            dict(
                type='Classifier',
                backbone=dict(type='MixMIMViT', arch='base'),
                num_classes=1000,
                head_norm=None,
            )
        )


def build(model: nn.Module, **rules) -> dict[str, tuple[float, bool]]:
    """Name -> (lr / base lr, decayed)."""
    optimizer = dict(type='AdamW', lr=LR, weight_decay=0.05)
    wrapper = LayerDecayConstructor(dict(optimizer=optimizer), rules)(model)
    names = {id(param): name for name, param in model.named_parameters()}
    return {
        names[id(param)]: (group['lr'] / LR, group['weight_decay'] > 0)
        for group in wrapper.optimizer.param_groups
        for param in group['params']
    }


def official_id(name: str) -> int:
    """Layer ids as the official script counts them: up to 24, with head and norm."""
    parts = name.removeprefix('backbone.').split('.')
    starts = [1 + sum(DEPTHS[:stage]) for stage in range(len(DEPTHS))]
    if parts[0] == 'patch_embed':
        return 0
    if parts[0] != 'layers':
        return 24
    stage = int(parts[1])
    if parts[2] == 'downsample':
        return starts[stage + 1]
    return starts[stage] + int(parts[3])


@pytest.mark.parametrize('official', [False, True])
def test_both_curves_of_mixmim(model: nn.Module, official: bool) -> None:
    found = build(model, layer_decay_rate=0.7, head_with_last_block=official)
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert found.keys() == trained
    for name, (scale, _) in found.items():
        top = name.startswith(('backbone.norm.', 'head.'))
        layer = official_id(name) + (top and not official)
        assert scale == pytest.approx(0.7 ** (25 - layer)), name
    top = found['head.weight'][0]
    assert top == pytest.approx(0.7 if official else 1.0)
    assert found['backbone.norm.weight'][0] == top
    assert found['backbone.layers.3.blocks.1.mlp.fc2.weight'][0] == pytest.approx(0.7)
    embedding = found['backbone.patch_embed.proj.weight'][0]
    assert embedding == pytest.approx(1.34e-4, rel=2e-3)  # 0.7 ** 25 with both
    assert max(scale for scale, _ in found.values()) == top


def test_the_default_is_ours(model: nn.Module) -> None:
    assert build(model, layer_decay_rate=0.7)['head.weight'][0] == 1.0


def test_tables_are_decayed_and_positions_are_not_trained(model: nn.Module) -> None:
    found = build(model, **OFFICIAL)
    tables = [name for name in found if name.endswith('relative_position_bias_table')]
    assert len(tables) == 24
    for name, (_, decayed) in found.items():
        assert decayed == (model.get_parameter(name).ndim > 1), name
    assert 'backbone.absolute_pos_embed' not in found


def test_the_table_says_how_fast_the_top_learns(model: nn.Module, caplog) -> None:
    logger = MMLogger.get_current_instance()
    logger.addHandler(caplog.handler)
    try:
        with caplog.at_level(logging.INFO):
            build(model, **OFFICIAL)
    finally:
        logger.removeHandler(caplog.handler)
    tops = [line.split() for line in caplog.text.splitlines() if ' top ' in line]
    assert [row[1:3] for row in tops] == [['7.00e-01', 'no'], ['7.00e-01', 'yes']]


def test_the_last_block_needs_layer_decay(model: nn.Module) -> None:
    assert {s for s, _ in build(model, head_with_last_block=False).values()} == {1.0}
    for rules in ({}, dict(layer_decay_rate=1.0)):
        with pytest.raises(ValueError, match=r'needs a layer_decay_rate below 1.*1\.0'):
            build(model, head_with_last_block=True, **rules)


@pytest.mark.parametrize('value', [3, 1, 0, 'True', None])
def test_the_last_block_is_a_bool(model: nn.Module, value: object) -> None:
    with pytest.raises(ValueError, match=f'got {value!r}, expected True or False'):
        build(model, layer_decay_rate=0.7, head_with_last_block=value)


@pytest.mark.parametrize(
    ('optimizer', 'fused'),
    [
        (dict(type='AdamW', lr=LR), True),
        (dict(type='AdamW', lr=LR, foreach=True), None),
        (dict(type='AdamW', lr=LR, fused=False), False),
        (dict(type='RMSprop', lr=LR), None),  # PyTorch has no such kernel
    ],
)
def test_the_update_is_one_kernel_where_there_is_one(optimizer: dict, fused) -> None:
    wrapper = LayerDecayConstructor(dict(optimizer=optimizer))(nn.Linear(2, 2))
    groups = wrapper.optimizer.param_groups
    assert [group.get('fused') for group in groups] == [fused] * len(groups)


def test_a_fused_update_is_not_asked_of_other_devices(model: nn.Module) -> None:
    cfg = dict(optimizer=dict(type='AdamW', lr=LR))
    assert not LayerDecayConstructor(cfg)(model).optimizer.param_groups[0]['fused']


@pytest.mark.parametrize('rate', [1.0, 0.7])
def test_the_backbone_learns_more_slowly(model: nn.Module, rate: float) -> None:
    plain = build(model, layer_decay_rate=rate)
    slow = build(model, layer_decay_rate=rate, backbone_lr_mult=0.1)
    assert {name for name in slow if name.startswith('backbone.')} > {
        'backbone.norm.weight',
        'backbone.patch_embed.proj.weight',
    }
    for name, (scale, decayed) in plain.items():
        factor = 0.1 if name.startswith('backbone.') else 1.0
        assert slow[name] == (pytest.approx(factor * scale), decayed)


def test_a_backbone_at_rate_zero_stays() -> None:
    small = nn.ModuleDict(dict(backbone=nn.Linear(2, 2), head=nn.Linear(2, 2)))
    before = {name: value.clone() for name, value in small.state_dict().items()}
    optimizer = dict(type='AdamW', lr=LR, weight_decay=0.05)
    rules = dict(backbone_lr_mult=0)
    wrapper = LayerDecayConstructor(dict(optimizer=optimizer), rules)(small)
    for _ in range(2):
        wrapper.update_params(small['head'](small['backbone'](torch.ones(1, 2))).sum())
    for name, value in small.state_dict().items():
        assert torch.equal(value, before[name]) is name.startswith('backbone.')


def test_a_slow_backbone_must_be_there() -> None:
    optimizer = dict(type='AdamW', lr=LR)
    with pytest.raises(ValueError, match='needs a model with a backbone; Linear has'):
        LayerDecayConstructor(dict(optimizer=optimizer), dict(backbone_lr_mult=0.1))(
            nn.Linear(2, 2)
        )
    with pytest.raises(ValueError, match=r'at least 0, got -1\.0'):
        LayerDecayConstructor(dict(optimizer=optimizer), dict(backbone_lr_mult=-1))
