"""Decoders and heads."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from mim_zoo.models import (
    MIM,
    LinearDecoder,
    MaskedL1,
    PixelTarget,
    TransformerDecoder,
)
from mim_zoo.models.corruption import Plan
from mim_zoo.registry import MODELS


def test_decoder_parameters_follow_the_corruption() -> None:
    torch.manual_seed(0)
    facts = dict(in_channels=8, out_channels=5, grid=(2, 3))
    small = dict(embed_dim=16, depth=1, num_heads=2)
    with_token = TransformerDecoder(**facts, **small)
    without = TransformerDecoder(**facts, **small, mask_token=False)
    assert 'mask_token' in with_token.state_dict()
    assert 'mask_token' not in without.state_dict()
    assert 0.01 < with_token.mask_token.std() < 0.04  # as MAE, N(0, 0.02)
    assert not with_token.pos_embed.requires_grad
    with pytest.raises(ValueError, match=r'MaskPatches.*use TransformerDecoder'):
        LinearDecoder(**facts, mask_token=True)


@pytest.mark.parametrize('kind', ['linear', 'transformer'])
@pytest.mark.parametrize('grid', [(2, 3), (4, 3)])
def test_prefix_tokens_are_not_predicted(kind: str, grid: tuple[int, int]) -> None:
    facts = dict(in_channels=8, out_channels=5, grid=(2, 3), prefix_tokens=1)
    decoder: nn.Module = (
        LinearDecoder(**facts)
        if kind == 'linear'
        else TransformerDecoder(
            **facts, mask_token=False, embed_dim=16, depth=1, num_heads=2
        )
    )
    patches = grid[0] * grid[1]
    plan = Plan(torch.ones(2, patches, dtype=torch.bool), grid, None)
    x = torch.randn(2, 1 + patches, 8)
    pred = decoder(x, plan)
    assert pred.shape == (2, patches, 5)
    moved = torch.cat([torch.randn(2, 1, 8), x[:, 1:]], dim=1)
    # the class token takes part in the transformer only
    assert torch.equal(decoder(moved, plan), pred) == (kind == 'linear')


def test_decoder_positions_are_resampled_on_load() -> None:
    facts = dict(in_channels=8, out_channels=5, prefix_tokens=1)
    small = dict(embed_dim=16, depth=1, num_heads=2)
    old = TransformerDecoder(**facts, **small, grid=(4, 4))
    new = TransformerDecoder(**facts, **small, grid=(6, 2))
    new.load_state_dict(old.state_dict())
    plan = Plan(torch.ones(2, 12, dtype=torch.bool), (6, 2), None)
    x = torch.randn(2, 13, 8)
    torch.testing.assert_close(new(x, plan), old(x, plan))


def test_one_decoder_per_output_or_one_for_all(
    build_mim: Callable[..., MIM],
    head_cfg: dict,
    random_mask: Callable[..., Tensor],
) -> None:
    neck = dict(type='LevelFusion', outputs=[[0], [1], [2]])
    each = build_mim(neck=neck)
    shared = build_mim(neck=neck, head=dict(head_cfg, shared=True))
    assert len(each.head.decoders) == 3
    assert len(shared.head.decoders) == 1
    images, mask = torch.randn(2, 3, 32, 32), random_mask(2, 16, 12)
    for model in (each, shared):
        assert list(model.loss(images, mask)) == ['loss_0', 'loss_1', 'loss_2']
    # the shared one is really used for all
    features, plan = shared.complete(images, mask)
    for feature, pred in zip(features, shared.head.decode(features, plan)):
        assert torch.equal(pred, shared.head.decoders[0](feature, plan))


def test_a_shared_decoder_needs_one_width(head_cfg: dict) -> None:
    cfg = dict(
        head_cfg,
        in_channels=[8, 16],
        grid=(2, 2),
        prefix_tokens=0,
        mask_token=True,
        facts=dict(stride=8, in_channels=3),
        shared=True,
    )
    with pytest.raises(ValueError, match=r'one width, got \[8, 16\]'):
        MODELS.build(cfg)


def test_several_heads_share_the_features(
    build_mim: Callable[..., MIM],
    head_cfg: dict,
    random_mask: Callable[..., Tensor],
) -> None:
    raw = dict(type='PixelTarget', normalize=False)
    heads = [
        head_cfg,
        dict(head_cfg, target=raw, loss=dict(type='MaskedL1'), weight=0.5),
    ]
    model = build_mim(head=heads)
    images, mask = torch.randn(2, 3, 32, 32), random_mask(2, 16, 12)
    losses = model.loss(images, mask)
    assert list(losses) == ['head0.loss_0', 'head1.loss_0']
    features, plan = model.complete(images, mask)
    pred, target, scored = model.heads[1].predict(features, images, plan)['loss_0']
    assert torch.equal(scored, mask)
    assert torch.equal(target, PixelTarget(False, stride=8, in_channels=3)(images))
    full = MaskedL1()(pred, target, mask)
    torch.testing.assert_close(losses['head1.loss_0'], 0.5 * full)
    assert model.heads[0].decoders[0] is not model.heads[1].decoders[0]
