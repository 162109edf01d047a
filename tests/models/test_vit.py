"""The plain encoder: its contract, sizes, positions, groups."""

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F

from mim_zoo.models import MIMViT
from mim_zoo.models.positions import (
    position_from_file,
    resample_position,
    sincos_position,
    stored_grid,
)
from mim_zoo.registry import MODELS

Build = Callable[..., MIMViT]

SIZE = (32, 32)


# --- the contract ----------------------------------------------------------------


@pytest.mark.parametrize('class_token', [True, False])
@pytest.mark.parametrize('channels', [1, 3, 4, 13])
@pytest.mark.parametrize('size', [(32, 32), (16, 48), (64, 24), (30, 35), (5, 9)])
def test_forward_is_embed_and_encode(
    build_vit: Build, size: tuple[int, int], channels: int, class_token: bool
) -> None:
    vit = build_vit(
        in_channels=channels, class_token=class_token, out_indices=(0, -1, 1)
    )
    images = torch.randn(2, channels, *size)
    h, w = math.ceil(size[0] / 8), math.ceil(size[1] / 8)
    assert vit.grid(size) == (h, w)

    tokens, pos = vit.embed(images)
    assert tokens.shape == (2, h * w, 32)
    assert pos.shape == (1, h * w, 32)
    levels = vit.encode(tokens + pos, [0, 1, 2], size)
    maps = vit(images)
    assert len(maps) == 3
    for i, level in enumerate([levels[0], vit.norm(levels[2]), levels[1]]):
        assert level.shape == (2, class_token + h * w, 32)
        patches = level[:, int(class_token) :]
        assert torch.equal(maps[i].flatten(2).transpose(1, 2), patches)
        assert maps[i].shape == (2, 32, h, w)


def test_padding_is_black_below_and_right(build_vit: Build) -> None:
    vit = build_vit()
    images = torch.randn(1, 3, 30, 35)
    padded = F.pad(images, (0, 5, 0, 2))
    assert torch.equal(vit(images)[0], vit(padded)[0])


def test_taps_stop_early_and_count_from_the_end(build_vit: Build) -> None:
    vit = build_vit()
    x = torch.randn(2, 5, 32)
    assert list(vit.encode(x, [0], SIZE)) == [0]
    assert torch.equal(vit.encode(x, [-1], SIZE)[2], vit.encode(x, [2], SIZE)[2])
    vit.blocks[2].register_forward_hook(lambda *_: pytest.fail('block 2 has run'))
    vit.encode(x, [0, 1], SIZE)


@pytest.mark.parametrize('index', [3, -4])
def test_taps_out_of_range(build_vit: Build, index: int) -> None:
    with pytest.raises(ValueError, match=rf'taps: got index {index}.*-3\.\.2'):
        build_vit().encode(torch.randn(1, 4, 32), [index], SIZE)
    with pytest.raises(ValueError, match=f'out_indices: got index {index}'):
        build_vit(out_indices=(index,))


@pytest.mark.parametrize(
    'shape', [(2, 1, 32, 32), (2, 4, 32, 32), (3, 32, 32), (2, 32, 32, 3)]
)
def test_wrong_images(build_vit: Build, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r'expected \(B, 3, H, W\); set in_channels'):
        build_vit()(torch.randn(shape))


@pytest.mark.parametrize(
    'changes, message',
    [
        (dict(arch='gigantic'), "got 'gigantic', expected one of.*micro"),
        (dict(arch=dict(embed_dim=32, depth=2)), 'num_heads'),
        (dict(arch=dict(embed_dim=32, depth=2, num_heads=2, mlp=2)), "'mlp'"),
        (dict(arch=dict(embed_dim=32, depth=2, num_heads=5)), '32.*5'),
        (dict(arch=dict(embed_dim=30, depth=2, num_heads=5)), 'divisible by 4'),
        (dict(drop_path_rate=1.0), 'rate < 1'),
        (dict(arch=dict(embed_dim=32, depth=0, num_heads=2)), 'depth=0'),
        (dict(out_indices=1), r'out_indices: got 1, expected a list'),
        (dict(img_size=[32]), r'got \[32\], expected pixels'),
        (dict(img_size=32.0), r'got 32\.0, expected pixels'),
    ],
)
def test_impossible_encoders(build_vit: Build, changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_vit(**changes)


@pytest.mark.parametrize(
    'arch, dim, depth, heads, patch',
    [
        ('micro', 96, 6, 3, 16),
        ('tiny', 192, 12, 3, 16),
        ('small', 384, 12, 6, 16),
        ('base', 768, 12, 12, 16),
        ('large', 1024, 24, 16, 16),
        ('huge', 1280, 32, 16, 14),
    ],
)
def test_archs(arch: str, dim: int, depth: int, heads: int, patch: int) -> None:
    with torch.device('meta'):
        vit = MODELS.build(dict(type='MIMViT', arch=arch))
        other = MODELS.build(dict(type='MIMViT', arch=arch, patch_size=8))
    assert vit.embed_dim == dim
    assert vit.levels == ((dim, patch),) * depth
    assert vit.stride == patch
    assert vit.blocks[0].attn.num_heads == heads
    assert vit.blocks[0].mlp.fc1.out_features == 4 * dim
    assert other.stride == 8
    assert other.pos_embed.shape == (1, 1 + 28 * 28, dim)


def test_the_norm_can_be_left_out(build_vit: Build) -> None:
    vit = build_vit(final_norm=False)
    assert not any(name.startswith('norm.') for name in vit.state_dict())
    images = torch.randn(1, 3, 32, 32)
    tokens, pos = vit.embed(images)
    raw = vit.encode(tokens + pos, [2], SIZE)[2][:, 1:]
    assert torch.equal(vit(images)[0].flatten(2).transpose(1, 2), raw)


def test_random_init_is_the_method(build_vit: Build) -> None:
    vit = build_vit(arch=dict(embed_dim=64, depth=2, num_heads=2))
    qkv = vit.blocks[0].attn.qkv
    assert qkv.weight.abs().max() <= math.sqrt(6 / (64 + 192))  # one matrix, as MAE
    assert qkv.weight.abs().max() > 0.95 * math.sqrt(6 / (64 + 192))
    assert qkv.bias.abs().max() == 0
    patch = vit.patch_embed.proj
    assert patch.weight.abs().max() <= math.sqrt(6 / (64 + 192))
    assert 0 < patch.bias.abs().max() <= 1 / math.sqrt(192)
    assert 0.01 < vit.cls_token.std() < 0.03
    assert not vit.pos_embed.requires_grad
    before = {k: v.clone() for k, v in vit.state_dict().items()}
    torch.manual_seed(1)
    vit.reset_parameters()  # callable again, and really random
    assert not torch.equal(
        before['blocks.1.mlp.fc2.weight'], vit.blocks[1].mlp.fc2.weight
    )
    assert not torch.equal(before['patch_embed.proj.bias'], patch.bias)
    assert torch.equal(before['pos_embed'], vit.pos_embed)


# --- positions -------------------------------------------------------------------


def test_positions_of_the_paper() -> None:
    table = sincos_position(768, (14, 14))
    assert table.shape == (196, 768)
    quarters = table.view(196, 4, 192)
    assert quarters[0].tolist() == [[0.0] * 192, [1.0] * 192] * 2
    # one column to the right: the first half of the channels moves
    first = quarters[1, :, 0]
    torch.testing.assert_close(first, torch.tensor([0.841471, 0.540302, 0.0, 1.0]))
    # one row down: the second half does
    below = quarters[14, :, 0]
    torch.testing.assert_close(below, torch.tensor([0.0, 1.0, 0.841471, 0.540302]))
    # frequency k of d / 2 is 10000 ** (-k / (d / 2))
    assert abs(quarters[3, 0, 96] - math.sin(3 * 10000**-0.5)) < 1e-6


def test_class_row_is_zero(build_vit: Build) -> None:
    vit = build_vit()
    assert (vit.pos_embed[:, 0] == 0).all()
    assert torch.equal(vit.pos_embed[0, 1:], sincos_position(32, (4, 4)))


def test_other_sizes_resample_positions(build_vit: Build) -> None:
    vit = build_vit()
    with torch.no_grad():  # a ramp to the right and one down stay ramps
        ramp = torch.stack(torch.meshgrid(*[torch.arange(4.0)] * 2, indexing='ij'))
        vit.pos_embed[0, 1:, :2] = ramp.flatten(1).T
    _, pos = vit.embed(torch.randn(1, 3, 16, 64))
    rows, columns = pos[0, :, :2].T.reshape(2, 2, 8)
    assert (rows[1] - rows[0] > 1).all()
    assert (rows.max(1).values - rows.min(1).values).max() < 1e-5
    assert (columns.diff(dim=1) > 0.25).all()
    assert (columns[0] - columns[1]).abs().max() < 1e-5


@pytest.mark.parametrize('stored', [True, False])
@pytest.mark.parametrize('wanted', [True, False])
@pytest.mark.parametrize('size', [32, 48, (24, 40)])
def test_loading_resamples_positions(
    build_vit: Build, stored: bool, wanted: bool, size: int | tuple[int, int]
) -> None:
    old = build_vit(class_token=stored)
    with torch.no_grad():
        old.pos_embed.add_(torch.randn_like(old.pos_embed))
    new = build_vit(class_token=wanted, img_size=size)
    state = old.state_dict()
    kept = {k: v.clone() for k, v in state.items()}
    result = new.load_state_dict(state, strict=False)
    assert set(result.missing_keys) <= {'cls_token'}
    assert set(result.unexpected_keys) <= {'cls_token'}
    assert all(torch.equal(state[k], v) for k, v in kept.items())  # left as given
    pixels = (size, size) if isinstance(size, int) else size
    _, expected = old.embed(torch.zeros(1, 3, *pixels))
    assert torch.equal(new.pos_embed[:, int(wanted) :], expected)
    if stored and wanted:
        assert torch.equal(new.pos_embed[:, 0], old.pos_embed[:, 0])
    elif wanted:
        assert (new.pos_embed[:, 0] == 0).all()
    images = torch.randn(1, 3, *pixels)
    if stored == wanted:
        torch.testing.assert_close(new(images)[0], old(images)[0])


@pytest.mark.parametrize('wanted', [(8, 8), (4, 16), (2, 32), (6, 6)])
def test_positions_of_a_file_tell_its_grid(wanted) -> None:
    table = sincos_position(32, (4, 16))
    noise = 0.1 * torch.randn(table.shape, generator=torch.Generator().manual_seed(0))
    for stored in (table, table + noise):
        file = torch.cat([torch.zeros(1, 32), stored])[None]
        found = position_from_file(file, wanted, 1)
        expected = resample_position(stored[None], (4, 16), wanted)
        assert torch.equal(found[:, 1:], expected)
        assert stored_grid(stored[None], wanted) == (4, 16)
    learned = torch.randn(1, 64, 32, generator=torch.Generator().manual_seed(0))
    same = wanted[0] * wanted[1] == 64
    assert stored_grid(learned, wanted) == (wanted if same else (8, 8))
    assert stored_grid(learned[:, :63]) is None


def test_stored_grids_that_cannot_be_told() -> None:
    with pytest.raises(ValueError, match='12 stored positions, expected 10'):
        position_from_file(torch.randn(1, 12, 8), (3, 3), 1)


def test_learned_positions_get_gradients_at_other_sizes(build_vit: Build) -> None:
    vit = build_vit(learned_pos=True)
    vit(torch.randn(1, 3, 48, 40))[0].sum().backward()
    assert vit.pos_embed.grad.isfinite().all()
    assert (vit.pos_embed.grad != 0).any(-1).all()  # the class token's row as well


# --- for others' tools -----------------------------------------------------------


@pytest.mark.parametrize(
    'options', [{}, dict(rel_pos='decomposed'), dict(window=2, global_blocks=[1])]
)
def test_export_for_any_size(build_vit: Build, options: dict) -> None:
    vit = build_vit(class_token=not options, **options).eval()
    sides = {2: 16 * torch.export.Dim('h'), 3: 16 * torch.export.Dim('w')}
    example = torch.randn(2, 3, 96, 80)
    made = torch.export.export(vit, (example,), dynamic_shapes=(sides,)).module()
    images = torch.randn(2, 3, 64, 112)
    torch.testing.assert_close(made(images)[0], vit(images)[0])


def test_half_precision_with_relative_positions_alone(build_vit: Build) -> None:
    vit = build_vit(rel_pos='shared', absolute_pos=False).bfloat16()
    assert vit(torch.randn(1, 3, 32, 32).bfloat16())[0].dtype == torch.bfloat16
