"""The hierarchical encoder: contract, sizes, groups, totals, errors."""

import math

import pytest
import torch
from hierarchy import TINY, build
from torch import Tensor, nn

from mim_zoo.models import MixMIMViT
from mim_zoo.models.layers import PatchMerging
from mim_zoo.registry import MODELS

# --- the contract ----------------------------------------------------------------


@pytest.mark.parametrize('channels', [1, 3, 13])
@pytest.mark.parametrize('size', [(64, 64), (96, 32), (50, 70), (5, 9)])
def test_forward_is_embed_and_encode(size: tuple[int, int], channels: int) -> None:
    encoder = build(in_channels=channels, out_indices=(0, 1, 2, 3))
    images = torch.randn(2, channels, *size)
    tokens, pos = encoder.embed(images)
    outputs = encoder.encode(tokens + pos, range(5), size)
    maps = encoder(images)
    assert len(maps) == 4
    for s, (block, found) in enumerate(zip((0, 1, 3, 4), maps)):
        x = encoder.norm(outputs[block]) if s == 3 else outputs[block]
        grid = math.ceil(size[0] / 2 ** (s + 2)), math.ceil(size[1] / 2 ** (s + 2))
        assert encoder.levels[block] == (8 * 2**s, 2 ** (s + 2))
        assert found.shape == (2, 8 * 2**s, *grid)
        assert torch.equal(found.flatten(2).transpose(1, 2), x)


@pytest.mark.parametrize('size', [(224, 224), (256, 192), (1024, 768)])
def test_maps_of_the_published_sizes(size: tuple[int, int]) -> None:
    encoder = build(dict(TINY, windows=(14, 14, 14, 7)), img_size=224)
    encoder.out_indices = [0, 1, 3, 4]
    with torch.no_grad():
        maps = encoder(torch.randn(1, 3, *size))
    strides = [size[0] // m.shape[2] for m in maps]
    assert strides == [size[1] // m.shape[3] for m in maps] == [4, 8, 16, 32]


def plain_stage(encoder: MixMIMViT, s: int, x: Tensor) -> Tensor:
    """A stage on a map (B, h, w, C) that its window divides, cut as Swin does."""
    stage = encoder.layers[s]
    for block in stage.blocks:
        B, h, w, C = x.shape
        n = min(stage.window, h, w)
        parts = block.norm1(x).view(B, h // n, n, w // n, n, C).transpose(2, 3)
        table = block.attn.relative_position_bias_table
        y = torch.arange(n * n) // n
        z = torch.arange(n * n) % n
        side, middle = 2 * stage.window - 1, stage.window - 1
        bias = table[(y[:, None] - y + middle) * side + z[:, None] - z + middle]
        heads = block.attn.num_heads
        qkv = block.attn.qkv(parts.reshape(-1, n * n, C))
        q, k, v = qkv.view(-1, n * n, 3, heads, C // heads).permute(2, 0, 3, 1, 4)
        scores = q @ k.transpose(-1, -2) / math.sqrt(C // heads)
        out = (scores + bias.permute(2, 0, 1)).softmax(-1) @ v
        out = block.attn.proj(out.transpose(1, 2).reshape(-1, n * n, C))
        out = out.view(B, h // n, w // n, n, n, C).transpose(2, 3).reshape(x.shape)
        x = x + out
        x = x + block.mlp(block.norm2(x))
    return x


@pytest.mark.parametrize('size', [(64, 64), (128, 64)])
def test_as_without_regions_where_the_windows_divide(size: tuple[int, int]) -> None:
    encoder = build(dict(TINY, windows=(8, 4, 4, 2)), out_indices=(0, 1, 2, 3))
    images = torch.randn(2, 3, *size)
    tokens, pos = encoder.embed(images)
    x = (tokens + pos).view(2, size[0] // 4, size[1] // 4, 8)
    for s, found in enumerate(encoder(images)):
        x = plain_stage(encoder, s, x)
        expected = encoder.norm(x) if s == 3 else x
        torch.testing.assert_close(found.permute(0, 2, 3, 1), expected)
        if s < 3:
            merging = encoder.layers[s].downsample
            corners = [x[:, i::2, j::2] for j in (0, 1) for i in (0, 1)]
            x = merging.reduction(merging.norm(torch.cat(corners, dim=-1)))


def test_odd_grids_are_merged_with_zeros() -> None:
    merging = PatchMerging(4)
    x = torch.randn(2, 15, 4)
    padded = torch.zeros(2, 4, 6, 4)
    padded[:, :3, :5] = x.view(2, 3, 5, 4)
    assert torch.equal(merging(x, (3, 5)), merging(padded.flatten(1, 2), (4, 6)))


def test_taps_stop_early() -> None:
    encoder = build()
    encoder.layers[2].blocks[0].register_forward_hook(
        lambda *_: pytest.fail('a block of stage 2 has run')
    )
    outputs = encoder.encode(torch.randn(1, 256, 8), [1, 0], (64, 64))
    assert list(outputs) == [0, 1]


# --- groups ----------------------------------------------------------------------


def cells(mask: Tensor, grid: tuple[int, int], side: int) -> Tensor:
    """A mask (B, L) of cells repeated for tokens, side x side in each."""
    mask = mask.view(-1, *grid)
    return mask.repeat_interleave(side, 1).repeat_interleave(side, 2).flatten(1)


@pytest.mark.parametrize('rows', [1, 2])
@pytest.mark.parametrize('size', [(64, 64), (96, 160)])
def test_groups_in_one_window_never_attend_to_each_other(
    size: tuple[int, int], rows: int
) -> None:
    # windows hold several cells: two groups meet in most of them
    encoder = build(dict(TINY, windows=(16, 6, 3, 2)))
    grid = size[0] // 32, size[1] // 32
    mask = torch.zeros(rows, grid[0] * grid[1], dtype=torch.bool)
    mask[:, ::2] = True
    if rows == 2:
        mask[1] = ~mask[1]
    groups = cells(mask, grid, 8)
    x = torch.randn(2, groups.shape[1], 8)
    changed = torch.where(groups[..., None], torch.randn_like(x), x)
    before = encoder.encode(x, range(5), size, groups)
    after = encoder.encode(changed, range(5), size, groups)
    for block, side in enumerate((8, 4, 2, 2, 1)):
        moved = (before[block] != after[block]).any(-1)
        assert torch.equal(moved, cells(mask, grid, side).expand(2, -1)), block


def test_one_group_is_none() -> None:
    encoder = build()
    x = torch.randn(2, 256, 8)
    alone = encoder.encode(x, [4], (64, 64), torch.zeros(1, 256, dtype=torch.bool))
    torch.testing.assert_close(alone, encoder.encode(x, [4], (64, 64)))


def test_groups_as_embeddings() -> None:
    encoder = build(group_mode='embedding')
    assert encoder.layers[1].group_embed.shape == (2, 16)
    x, groups = (
        torch.randn(2, 256, 8),
        cells(torch.tensor([[0, 1, 1, 0]]) > 0, (2, 2), 8),
    )
    size = (64, 64)
    without = encoder.encode(x, [0, 4], size)
    outputs = encoder.encode(x, [0, 4], size, groups)
    added = x + torch.where(
        groups[..., None],
        encoder.layers[0].group_embed[1],
        encoder.layers[0].group_embed[0],
    )
    torch.testing.assert_close(outputs[0], encoder.encode(added, [0], size)[0])
    assert not torch.allclose(outputs[4], without[4])
    with torch.no_grad():
        for stage in encoder.layers:
            stage.group_embed.zero_()
    torch.testing.assert_close(encoder.encode(x, [4], size, groups)[4], without[4])
    outputs[4].sum().backward()
    assert all(stage.group_embed.grad.abs().max() > 0 for stage in encoder.layers)


# --- totals and errors -----------------------------------------------------------


def total(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(
    'arch, encoder, pretraining, fine_tuning',
    [
        ('base', 87_319_352, 114_665_784, 88_344_352),
        ('large', 195_859_668, 223_468_244, 197_396_668),
        ('huge', 656_445_658, 684_709_594, 659_262_658),
    ],
)
def test_totals(arch: str, encoder: int, pretraining: int, fine_tuning: int) -> None:
    backbone = dict(type='MixMIMViT', arch=arch)
    with torch.device('meta'):
        model = MODELS.build(
            dict(
                type='MixMIM',
                backbone=backbone,
                corruption=dict(type='MixImages'),
                head=dict(
                    type='MIMHead',
                    target=dict(type='PixelTarget'),
                    loss=dict(type='MaskedMSE'),
                    decoder=dict(type='TransformerDecoder'),
                ),
            )
        )
        tuned = MODELS.build(
            dict(type='Classifier', backbone=backbone, num_classes=1000, head_norm=None)
        )
    assert total(model.backbone) == encoder
    assert total(model) == pretraining
    assert total(tuned) == fine_tuning


@pytest.mark.parametrize('arch, millions', [('base', 89.6), ('large', 199)])
def test_totals_at_384_px(arch: str, millions: float) -> None:
    backbone = dict(type='MixMIMViT', arch=arch, img_size=384, windows=(16, 16, 24, 12))
    with torch.device('meta'):
        cfg = dict(type='Classifier', backbone=backbone, num_classes=1000)
        found = total(MODELS.build(dict(cfg, head_norm=None)))
    digits = 1 if millions < 100 else 0
    assert round(found / 1e6, digits) == millions


@pytest.mark.parametrize(
    'changes, message',
    [
        (dict(arch='giant'), "got 'giant', expected one of.*base"),
        (dict(arch=dict(embed_dim=8, depths=(1, 1))), r"lacks \['num_heads'\]"),
        (dict(arch=dict(TINY, heads=3)), r"got \['heads'\].*perhaps"),
        (dict(arch=dict(TINY, depths=(1, 1))), 'as many of each, one per stage'),
        (dict(windows=(7, 7)), r'windows \(7, 7\).*one per stage'),
        (dict(windows=7), 'windows: got 7, expected whole numbers above 0'),
        (dict(windows=(0, 4, 4, 2)), r'windows: got \(0, 4, 4, 2\)'),
        (dict(arch=dict(TINY, depths=(1, 0, 1, 1))), r'depths: got \(1, 0, 1, 1\)'),
        (
            dict(arch=dict(embed_dim=8, depths=(1, 1), num_heads=(1, 2))),
            r'\(14, 14, 14, 7\) \(windows are those of 224 px unless given\)',
        ),
        (dict(out_indices=(4,)), r'out_indices: got index 4'),
        (dict(group_mode='both'), "'attention' or 'embedding'"),
        (dict(arch=dict(TINY, num_heads=(3, 2, 2, 4))), 'width 8 cannot be split'),
    ],
)
def test_impossible_builds(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(**changes)


def test_tracing_while_gradients_are_on() -> None:
    encoder = MixMIMViT('micro', img_size=32).eval()
    images = torch.randn(1, 3, 32, 32)
    traced = torch.jit.trace(encoder, images)
    torch.testing.assert_close(traced(images)[0], encoder(images)[0])
