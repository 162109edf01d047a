"""Losses, targets, fusion of levels, heads."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mim_zoo.models import (
    MIM,
    LevelFusion,
    LinearDecoder,
    MaskedCosine,
    MaskedL1,
    MaskedMSE,
    MaskedSmoothL1,
    PixelTarget,
    TransformerDecoder,
)
from mim_zoo.models.corruption import Plan
from mim_zoo.models.losses import MaskedLoss
from mim_zoo.models.targets import Target, patchify, unpatchify
from mim_zoo.registry import MODELS

LOSSES = [
    MaskedMSE(),
    MaskedL1(),
    MaskedSmoothL1(beta=2),
    MaskedSmoothL1(beta=0.1),
    MaskedCosine(),
]


def name_of(part: nn.Module) -> str:
    return type(part).__name__


# --- losses ----------------------------------------------------------------------


def plain_error(loss: MaskedLoss, pred: Tensor, target: Tensor) -> float:
    """The error of one patch, from the formula."""
    d = (pred - target).double()
    if isinstance(loss, MaskedMSE):
        return float((d**2).sum() / len(d))
    if isinstance(loss, MaskedL1):
        return float(d.abs().sum() / len(d))
    if isinstance(loss, MaskedSmoothL1):
        terms = [
            0.5 * x * x / loss.beta if abs(x) < loss.beta else abs(x) - loss.beta / 2
            for x in d.tolist()
        ]
        return sum(terms) / len(terms)
    cos = pred @ target / pred.norm() / target.norm()
    return float(2 - 2 * cos)


@pytest.mark.parametrize('loss', LOSSES, ids=name_of)
def test_losses_are_their_formulas(loss: MaskedLoss) -> None:
    torch.manual_seed(0)
    pred, target = torch.randn(3, 6, 5), 2 * torch.randn(3, 6, 5)
    mask = torch.rand(3, 6) < 0.5  # unequal counts: one mean over all hidden patches
    assert len(set(mask.sum(1).tolist())) > 1
    errors = [
        plain_error(loss, pred[i, j], target[i, j]) for i, j in mask.nonzero().tolist()
    ]
    value = loss(pred, target, mask)
    assert value.shape == ()
    assert float(value) == pytest.approx(sum(errors) / len(errors), rel=1e-5)
    assert loss.error(pred, target).shape == (3, 6)
    assert float(loss(target, target, mask)) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize('loss', LOSSES, ids=name_of)
def test_visible_patches_do_not_count(loss: MaskedLoss) -> None:
    pred = torch.randn(2, 6, 5, requires_grad=True)
    target, mask = torch.randn(2, 6, 5), torch.arange(6).expand(2, -1) < 4
    before = loss(pred, target, mask)
    before.backward()
    assert (pred.grad[~mask] == 0).all()
    assert (pred.grad[mask] != 0).any(-1).all()
    changed = torch.where(mask[..., None], pred, 100.0)
    assert torch.equal(before, loss(changed, target, mask))


@pytest.mark.parametrize('loss', LOSSES, ids=name_of)
def test_losses_are_taken_in_fp32(loss: MaskedLoss) -> None:
    pred, target = torch.randn(2, 64, 5).bfloat16(), torch.randn(2, 64, 5).bfloat16()
    mask = torch.ones(2, 64, dtype=torch.bool)
    value = loss(pred, target, mask)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, loss(pred.float(), target.float(), mask))


@pytest.mark.parametrize('loss', LOSSES, ids=name_of)
@pytest.mark.parametrize('count', [1, 40, 41])
def test_no_constant_is_better(loss: MaskedLoss, count: int) -> None:
    torch.manual_seed(0)
    target = torch.randn(count, 4) ** 3 + torch.tensor([0.0, 1.0, -2.0, 5.0])
    best = loss.best_constant(target)
    assert best.shape == (4,)
    least = loss.error(best.expand_as(target), target).mean()
    directions = torch.cat([torch.eye(4), -torch.eye(4), torch.randn(50, 4)])
    for size in (1e-2, 0.1, 1.0, 10.0):
        for direction in directions:
            other = best + size * direction
            error = loss.error(other.expand_as(target), target).mean()
            assert error >= least - 1e-6


def test_beta_must_be_positive() -> None:
    with pytest.raises(ValueError, match='beta=0'):
        MaskedSmoothL1(beta=0)


# --- targets ---------------------------------------------------------------------


@pytest.mark.parametrize('channels', [1, 3, 13])
@pytest.mark.parametrize('size', [(16, 16), (8, 24), (32, 16)])
def test_patches_and_back(size: tuple[int, int], channels: int) -> None:
    images = torch.randn(2, channels, *size)
    patches = patchify(images, 8)
    assert patches.shape == (2, size[0] * size[1] // 64, 64 * channels)
    assert torch.equal(unpatchify(patches, 8, size), images)


def test_patch_order_is_row_column_channel() -> None:
    images = torch.arange(2 * 4 * 6.0).view(1, 2, 4, 6)  # channel, row, column
    second = images[0, :, 0:2, 2:4]
    assert torch.equal(patchify(images, 2)[0, 1], second.permute(1, 2, 0).flatten())


@pytest.mark.parametrize('normalize', [True, False])
@pytest.mark.parametrize('size', [(16, 16), (8, 24)])
def test_the_target_can_be_drawn(size: tuple[int, int], normalize: bool) -> None:
    images = torch.randn(2, 3, *size)
    target = PixelTarget(normalize, stride=8, in_channels=3)
    values = target(images)
    assert values.shape[-1] == target.dim == 192
    torch.testing.assert_close(target.invert(values, images), images)
    assert ('ground-truth' in target.caption) == normalize


def test_normalised_pixels() -> None:
    target = PixelTarget(stride=16, in_channels=3)
    images = torch.randn(4, 3, 64, 64) * 2 + 1
    values = target(images)
    patch = images[1, :, :16, 16:32].permute(1, 2, 0).flatten()
    expected = (patch - patch.mean()) / (patch.var(unbiased=True) + 1e-6).sqrt()
    torch.testing.assert_close(values[1, 1], expected)
    zero = MaskedMSE()(torch.zeros_like(values), values, torch.ones(4, 16).bool())
    assert float(zero) == pytest.approx(767 / 768, abs=1e-5)  # 0.9987
    flat = target(torch.full((1, 3, 64, 64), 7.0))
    assert (flat == 0).all()


def test_targets_take_no_gradient_and_are_fp32() -> None:
    images = torch.randn(1, 3, 16, 16, requires_grad=True)
    target = PixelTarget(stride=8, in_channels=3)
    assert not target(images).requires_grad
    assert target(images.bfloat16()).dtype == torch.float32


def test_images_must_be_whole_patches() -> None:
    with pytest.raises(ValueError, match=r'16 x 20 pixels.*multiples of the patch \(8'):
        PixelTarget(stride=8, in_channels=3)(torch.randn(1, 3, 16, 20))


def test_targets_without_inverse_say_so() -> None:
    with pytest.raises(ValueError, match='no inverse'):
        Target(stride=8).invert(torch.randn(1, 4, 5), torch.randn(1, 3, 16, 16))


# --- fusion ----------------------------------------------------------------------

LEVELS = ((8, 4),) * 4


def outputs_of_blocks() -> dict[int, Tensor]:
    torch.manual_seed(0)
    return {i: torch.randn(2, 5, 8) for i in range(4)}


def double(x: Tensor) -> Tensor:
    """Stands for the encoder's norm; easy to tell."""
    return 2 * x


class Double(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return double(x)


def test_single_levels_are_handed_on() -> None:
    levels = outputs_of_blocks()
    fuse = LevelFusion([[1], [-1], [0]], levels=LEVELS)
    assert fuse.taps == [0, 1, 3]
    assert fuse.out_channels == [8, 8, 8]
    assert not list(fuse.parameters())
    first, last, zeroth = fuse(levels, Double())
    assert torch.equal(first, levels[1])  # raw
    assert torch.equal(last, double(levels[3]))  # normed: it holds the last block
    assert torch.equal(zeroth, levels[0])


def test_default_is_the_last_level() -> None:
    levels = outputs_of_blocks()
    (only,) = LevelFusion(levels=LEVELS)(levels, Double())
    assert torch.equal(only, double(levels[3]))


@pytest.mark.parametrize('output', [[0, 2, 3], [0, 2]])
def test_fusion_is_a_weighted_sum(output: list[int]) -> None:
    levels = outputs_of_blocks()
    fuse = LevelFusion([output], levels=LEVELS)
    fusion = fuse.fusions[0]
    assert len(fusion.proj_layers) == len(output) - 1
    weights = fusion.proj_weights.softmax(0).flatten()
    assert weights.tolist() == pytest.approx([1 / len(output)] * len(output))

    with torch.no_grad():
        fusion.proj_weights.copy_(torch.randn_like(fusion.proj_weights))
    weights = fusion.proj_weights.softmax(0).flatten()
    expected = weights[-1] * levels[output[-1]]
    for weight, i, proj in zip(weights, output, fusion.proj_layers):
        expected = expected + weight * F.linear(levels[i], proj.weight, proj.bias)
    if 3 in output:  # the norm comes after the fusion
        expected = double(expected)
    torch.testing.assert_close(fuse(levels, Double())[0], expected)


def test_the_order_in_a_list_does_not_matter() -> None:
    a = LevelFusion([[3, 0, 2]], levels=LEVELS)
    assert a.outputs == LevelFusion([[0, 2, -1]], levels=LEVELS).outputs


@pytest.mark.parametrize(
    'outputs, message',
    [
        ([], 'non-empty list'),
        ([[0], []], 'non-empty list'),
        ([[4]], r'got index 4, expected one of -4\.\.3'),
        ([[0, -5]], 'got index -5'),
        ([[1, 3, -1]], 'more than once'),
    ],
)
def test_impossible_outputs(outputs: list, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LevelFusion(outputs, levels=LEVELS)


# --- decoders and heads ----------------------------------------------------------


def test_decoder_parameters_follow_the_corruption() -> None:
    facts = dict(in_channels=8, out_channels=5, grid=(2, 3))
    small = dict(embed_dim=16, depth=1, num_heads=2)
    with_token = TransformerDecoder(**facts, **small)
    without = TransformerDecoder(**facts, **small, mask_token=False)
    assert 'mask_token' in with_token.state_dict()
    assert 'mask_token' not in without.state_dict()
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
    plan = Plan(torch.ones(2, patches, dtype=torch.bool), grid)
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
    plan = Plan(torch.ones(2, 12, dtype=torch.bool), (6, 2))
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
    predictions, _ = shared.head.predict(features, images, plan)
    for i, feature in enumerate(features):
        decoder = shared.head.decoders[0]
        assert torch.equal(predictions[f'loss_{i}'], decoder(feature, plan))


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
    predictions, target = model.heads[1].predict(features, images, plan)
    assert torch.equal(target, PixelTarget(False, stride=8, in_channels=3)(images))
    full = MaskedL1()(predictions['loss_0'], target, mask)
    torch.testing.assert_close(losses['head1.loss_0'], 0.5 * full)
    assert model.heads[0].decoders[0] is not model.heads[1].decoders[0]
