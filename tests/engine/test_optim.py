"""LARS and the parameter groups, against numbers worked out by hand."""

import logging

import pytest
import torch
from mmengine.optim import CosineAnnealingLR, build_optim_wrapper
from torch import nn

from mim_zoo.engine import LARS, LayerDecayConstructor
from mim_zoo.registry import OPTIMIZERS


def one_param(value: list, grad: list) -> nn.Parameter:
    param = nn.Parameter(torch.tensor(value))
    param.grad = torch.tensor(grad)
    return param


def test_lars_two_steps_of_a_matrix() -> None:
    # norm of weight 5, of gradient 2: ratio 0.001 * 5 / 2 = 0.0025.
    weight = one_param([[3.0, 4.0]], [[0.0, 2.0]])
    optimizer = OPTIMIZERS.build(dict(type='LARS', params=[weight], lr=10.0))
    optimizer.step()
    torch.testing.assert_close(weight.data, torch.tensor([[3.0, 4.0 - 10 * 0.005]]))
    # A tenth of the learning rate acts at once: the buffer holds no learning rate.
    optimizer.param_groups[0]['lr'] = 1.0
    optimizer.step()
    norm = (3.0**2 + 3.95**2) ** 0.5
    buffer = 0.9 * 0.005 + 0.001 * norm / 2 * 2
    torch.testing.assert_close(weight.data, torch.tensor([[3.0, 3.95 - buffer]]))


def test_lars_decays_before_the_ratio() -> None:
    weight = one_param([[3.0, 4.0]], [[0.0, 2.0]])
    LARS([weight], lr=1.0, weight_decay=0.5).step()
    direction = torch.tensor([[1.5, 4.0]])
    expected = torch.tensor([[3.0, 4.0]]) - 0.005 * direction / direction.norm()
    torch.testing.assert_close(weight.data, expected)


def test_lars_leaves_a_bias_its_plain_gradient() -> None:
    bias = one_param([3.0, 4.0], [0.0, 2.0])
    LARS([bias], lr=0.1, weight_decay=0.5).step()
    torch.testing.assert_close(bias.data, torch.tensor([3.0, 3.8]))


@pytest.mark.parametrize(
    ('value', 'grad', 'expected'),
    [([[0.0, 0.0]], [[1.0, 0.0]], [[-1.0, 0.0]]), ([[1.0, 1.0]], [[0.0, 0.0]], None)],
)
def test_lars_zero_norms_stay_finite(value, grad, expected) -> None:
    weight = one_param(value, grad)
    LARS([weight], lr=1.0).step()
    torch.testing.assert_close(weight.data, torch.tensor(expected or value))


def test_lars_refuses_negative_values() -> None:
    with pytest.raises(ValueError, match='momentum must be 0 or more, got -1'):
        LARS([one_param([1.0], [1.0])], lr=0.1, momentum=-1)


class ToyBackbone(nn.Module):
    """The parameters of a ViT of ``depth`` blocks, as far as the rules see them."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, 2))
        self.pos_embed = nn.Parameter(torch.zeros(1, 5, 2))
        self.patch_embed = nn.Conv2d(3, 2, 2)
        self.blocks = nn.ModuleList(nn.Linear(2, 2) for _ in range(depth))
        self.norm = nn.LayerNorm(2)

    def get_layer_depth(self, param_name: str, prefix: str = '') -> tuple[int, int]:
        name = param_name.removeprefix(prefix)
        depth = len(self.blocks)
        if name.startswith('blocks.'):
            return int(name.split('.')[1]) + 1, depth + 2
        return (depth + 1 if name.startswith('norm') else 0), depth + 2


class ToyModel(nn.Module):
    def __init__(self, depth: int = 12) -> None:
        super().__init__()
        self.backbone = ToyBackbone(depth)
        self.head = nn.Linear(2, 3)


FINE_TUNE = dict(layer_decay_rate=0.65, no_decay_names=('pos_embed', 'cls_token'))


def build(model: nn.Module, paramwise_cfg: dict, **optimizer):
    cfg = dict(
        type='OptimWrapper',
        optimizer=dict(type='AdamW', lr=2e-3, weight_decay=0.05, **optimizer),
        constructor='mim_zoo.LayerDecayConstructor',
        paramwise_cfg=paramwise_cfg,
    )
    return build_optim_wrapper(model, cfg)


def settings(model: nn.Module, wrapper) -> dict[str, tuple[float, float]]:
    """Name -> (lr / base lr, weight decay)."""
    names = {id(param): name for name, param in model.named_parameters()}
    return {
        names[id(param)]: (group['lr'] / 2e-3, group['weight_decay'])
        for group in wrapper.optimizer.param_groups
        for param in group['params']
    }


@pytest.mark.parametrize(
    ('rate', 'depth', 'scale'),
    [(0.65, 12, 3.70e-3), (0.75, 24, 7.5e-4), (0.75, 32, 7.5e-5)],
)
def test_scale_of_the_embeddings_is_the_official_one(rate, depth, scale) -> None:
    model = ToyModel(depth)
    found = settings(model, build(model, dict(layer_decay_rate=rate)))
    assert found['backbone.patch_embed.weight'][0] == pytest.approx(scale, rel=5e-3)
    assert found['backbone.cls_token'][0] == pytest.approx(scale, rel=5e-3)


def test_fine_tuning_groups() -> None:
    model = ToyModel()
    wrapper = build(model, FINE_TUNE)
    found = settings(model, wrapper)
    assert found.keys() == dict(model.named_parameters()).keys()
    assert found['backbone.blocks.0.weight'] == (pytest.approx(0.65**12), 0.05)
    assert found['backbone.blocks.11.bias'] == (pytest.approx(0.65), 0.0)
    assert found['backbone.norm.weight'] == (1.0, 0.0)
    assert found['head.weight'] == (1.0, 0.05)
    assert found['head.bias'] == (1.0, 0.0)
    assert found['backbone.pos_embed'][1] == found['backbone.cls_token'][1] == 0.0
    # One group per (layer, decayed): embeddings, 12 blocks and the top, twice each.
    assert len(wrapper.optimizer.param_groups) == 28


def test_pretraining_rule_decays_the_tokens() -> None:
    model = nn.Module()  # no get_layer_depth needed at rate 1
    model.cls_token = nn.Parameter(torch.zeros(1, 1, 2))
    model.head = nn.Linear(2, 3)
    wrapper = build(model, {})
    found = settings(model, wrapper)
    assert found['cls_token'] == found['head.weight'] == (1.0, 0.05)
    assert found['head.bias'] == (1.0, 0.0)
    assert len(wrapper.optimizer.param_groups) == 2


def test_frozen_parameters_are_left_out() -> None:
    model = ToyModel()
    model.backbone.pos_embed.requires_grad_(False)
    found = settings(model, build(model, FINE_TUNE))
    assert 'backbone.pos_embed' not in found
    assert 'backbone.cls_token' in found


def test_minimum_learning_rate_is_scaled_per_layer() -> None:
    model = ToyModel()
    wrapper = build(model, FINE_TUNE)
    base = [group['lr'] for group in wrapper.optimizer.param_groups]
    scheduler = CosineAnnealingLR(wrapper, T_max=4, eta_min_ratio=1e-6 / 2e-3)
    for _ in range(4):
        wrapper.update_params(model.head.weight.sum())
        scheduler.step()
    for group, lr in zip(wrapper.optimizer.param_groups, base):
        assert group['lr'] == pytest.approx(lr * 1e-6 / 2e-3, rel=1e-6)


def test_table_is_logged(caplog) -> None:
    from mmengine.logging import MMLogger

    logger = MMLogger.get_current_instance()
    logger.addHandler(caplog.handler)
    try:
        with caplog.at_level(logging.INFO):
            build(ToyModel(), FINE_TUNE)
    finally:
        logger.removeHandler(caplog.handler)
    assert '3.70e-03' in caplog.text
    assert 'top' in caplog.text


@pytest.mark.parametrize(
    ('paramwise_cfg', 'match'),
    [
        (dict(no_decay_names=('pos_embd',)), '"pos_embd" is the end of no parameter'),
        # A part of a name is no match: "embed" must not catch "pos_embed".
        (dict(no_decay_names=('embed',)), '"embed" is the end of no parameter'),
        (dict(layer_decay_rate=1.5), 'at most 1, got 1.5'),
        (dict(decay_rate=0.65), r"unknown paramwise_cfg key\(s\) \['decay_rate'\]"),
    ],
)
def test_wrong_rules_are_refused(paramwise_cfg, match) -> None:
    cfg = dict(optimizer=dict(type='AdamW', lr=1.0))
    with pytest.raises(ValueError, match=match):
        LayerDecayConstructor(cfg, paramwise_cfg)(ToyModel())


@pytest.mark.parametrize('prefix', ['', 'backbone.'])
def test_an_encoder_may_lack_what_is_not_decayed(prefix) -> None:
    cfg = dict(optimizer=dict(type='AdamW', lr=1.0))
    model = torch.nn.Linear(2, 2)
    names = [f'{prefix}cls_token', f'{prefix}pos_embed']
    constructor = LayerDecayConstructor(cfg, dict(no_decay_names=names))
    assert [g.get('weight_decay') for g in constructor.param_groups(model)] == [0, None]


def test_layer_decay_needs_layers() -> None:
    cfg = dict(optimizer=dict(type='AdamW', lr=1.0))
    with pytest.raises(ValueError, match='Linear has none'):
        LayerDecayConstructor(cfg, dict(layer_decay_rate=0.5))(nn.Linear(2, 2))
