"""Relative position bias and LayerScale of MIMViT, as BEiT has them (2106.08254)."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from mim_zoo.engine.loading import load_weights
from mim_zoo.models import MIMViT, layers
from mim_zoo.models.relative import (
    TABLE,
    RelativeAttention,
    bias_from_table,
    offset_index,
    resample_table,
    rows_of,
)

Build = Callable[..., Any]


def published_index(h: int, w: int) -> Tensor:
    """BEiT's index with a class token, entry by entry."""
    N = h * w + 1
    rows = (2 * h - 1) * (2 * w - 1) + 3
    index = torch.empty(N, N, dtype=torch.long)
    for i in range(N):
        for j in range(N):
            if i == j == 0:
                index[i, j] = rows - 1
            elif i == 0:
                index[i, j] = rows - 3
            elif j == 0:
                index[i, j] = rows - 2
            else:
                (yi, xi), (yj, xj) = divmod(i - 1, w), divmod(j - 1, w)
                index[i, j] = (yi - yj + h - 1) * (2 * w - 1) + xi - xj + w - 1
    return index


@pytest.mark.parametrize('grid', [(2, 2), (3, 4), (5, 2)])
def test_index_is_beits(grid: tuple[int, int]) -> None:
    device = torch.device('cpu')
    expected = published_index(*grid)
    assert torch.equal(offset_index(grid, 1, device), expected)
    assert torch.equal(offset_index(grid, 0, device), expected[1:, 1:])


def test_published_sizes() -> None:
    assert rows_of((14, 14), 1) == 732
    assert rows_of((16, 16), 1) == 964
    with torch.device('meta'):
        vit = MIMViT('base', rel_pos='shared', absolute_pos=False, layer_scale=0.1)
    assert vit.rel_pos_bias.relative_position_bias_table.shape == (732, 12)
    assert not hasattr(vit, 'pos_embed')
    assert vit.blocks[11].gamma_2.shape == (768,)


def randomise(vit: MIMViT) -> MIMViT:
    for name, parameter in vit.named_parameters():
        if name.endswith(TABLE):
            torch.nn.init.normal_(parameter)
    return vit


@pytest.mark.parametrize('kind', ['shared', 'block'])
def test_a_table_changes_what_is_seen_and_zeros_do_not(
    build_vit: Build, kind: str
) -> None:
    images = torch.randn(2, 3, 32, 32)
    plain, biased = build_vit(), build_vit(rel_pos=kind)
    state = {k: v for k, v in biased.state_dict().items() if TABLE not in k}
    plain.load_state_dict(state)
    torch.testing.assert_close(biased(images)[0], plain(images)[0])
    randomise(biased)
    assert not torch.allclose(biased(images)[0], plain(images)[0], atol=1e-2)
    names = [k for k in biased.state_dict() if 'relative' in k]
    assert names == (
        [f'rel_pos_bias.{TABLE}']
        if kind == 'shared'
        else [f'blocks.{i}.attn.{TABLE}' for i in range(3)]
    )


def test_a_shared_table_becomes_that_of_every_block(build_vit: Build) -> None:
    shared = randomise(build_vit(rel_pos='shared', absolute_pos=False))
    each = build_vit(rel_pos='block', absolute_pos=False)
    state = shared.state_dict()
    index = published_index(4, 4)
    state['rel_pos_bias.relative_position_index'] = index
    each.load_state_dict(state)
    images = torch.randn(2, 3, 32, 48)
    torch.testing.assert_close(each(images)[0], shared(images)[0])
    state = each.state_dict()
    state['blocks.0.attn.relative_position_index'] = index
    each.load_state_dict(state)  # strict: a stored index is no surprise


@pytest.mark.parametrize('kind', ['shared', 'block'])
def test_other_grids_resample(build_vit: Build, kind: str) -> None:
    small = randomise(build_vit(rel_pos=kind, absolute_pos=False))
    wide = build_vit(rel_pos=kind, absolute_pos=False, img_size=(32, 48))
    wide.load_state_dict(small.state_dict())
    images = torch.randn(2, 3, 32, 48)
    torch.testing.assert_close(wide(images)[0], small(images)[0])


@pytest.mark.parametrize('stored', [True, False])
def test_a_class_token_comes_and_goes(build_vit: Build, stored: bool) -> None:
    kind = dict(rel_pos='shared', absolute_pos=False)
    old = randomise(build_vit(class_token=stored, **kind))
    new = build_vit(class_token=not stored, img_size=(32, 48), **kind)
    new.load_state_dict(old.state_dict(), strict=False)
    one, two = (vit.rel_pos_bias.bias((4, 6))[0] for vit in (old, new))
    torch.testing.assert_close(one[:, -24:, -24:], two[:, -24:, -24:])
    if not stored:
        assert not two[:, 0].any() and not two[:, :, 0].any()


def test_files_of_another_size_are_loaded_with_a_report(build_vit: Build) -> None:
    shared = randomise(build_vit(rel_pos='shared', absolute_pos=False))
    state = shared.state_dict()
    state['rel_pos_bias.relative_position_index'] = published_index(4, 4)
    wide = build_vit(rel_pos='block', absolute_pos=False, img_size=(48, 32))
    report = load_weights(wide, state)
    assert report.share == 1
    assert not (report.missing or report.unexpected or report.mismatched)
    images = torch.randn(1, 3, 48, 32)
    torch.testing.assert_close(wide(images)[0], shared(images)[0])


def test_resampling_keeps_planes_and_rows_of_the_prefix() -> None:
    y, x = torch.meshgrid(torch.arange(-3.0, 4), torch.arange(-3.0, 4), indexing='ij')
    table = torch.cat([(y + 2 * x).reshape(-1, 1), torch.tensor([[7.0], [8.0], [9.0]])])
    wide = resample_table(table, (4, 4), (4, 8))[:-3].view(7, 15)
    torch.testing.assert_close(wide[:, 7], y[:, 0])  # rows as before, W alone is finer
    torch.testing.assert_close(
        wide[3, 8] - wide[3, 7], torch.tensor(14 / 15), rtol=0.05, atol=0
    )
    finer = resample_table(table, (4, 4), (8, 8))
    assert torch.equal(finer[-3:], table[-3:])
    maps = finer[:-3].view(15, 15)
    step = maps[8, 8] - maps[7, 8]
    torch.testing.assert_close(step, torch.tensor(7 / 15), rtol=0.05, atol=0)
    bias = bias_from_table(table, (4, 4), (4, 4), 1)
    assert bias.shape == (1, 1, 17, 17)
    assert bias[0, 0, 0, 0] == 9 and bias[0, 0, 0, 5] == 7 and bias[0, 0, 5, 0] == 8


@pytest.mark.parametrize('images', [1, 3])
@pytest.mark.parametrize('kind', ['shared', 'block'])
def test_bias_and_groups_by_hand(build_vit: Build, kind: str, images: int) -> None:
    """Groups of the batch (1) or of each image (3); a grid of 2 x 3 of 4 x 4."""
    arch = dict(embed_dim=32, depth=1, num_heads=2)
    vit = randomise(build_vit(arch=arch, rel_pos=kind, class_token=False))
    table = next(p for n, p in vit.named_parameters() if n.endswith(TABLE))
    rows = resample_table(table, (4, 4), (2, 3))[published_index(2, 3)[1:, 1:]]
    x, groups = torch.randn(3, 6, 32), torch.randint(0, 2, (images, 6))
    block = vit.blocks[0]
    q, k, v = block.attn.qkv(block.norm1(x)).view(3, 6, 3, 2, 16).permute(2, 0, 3, 1, 4)
    scores = q @ k.mT / 4 + rows.permute(2, 0, 1)
    apart = groups[:, None, :, None] != groups[:, None, None, :]
    probs = scores.masked_fill(apart, float('-inf')).softmax(-1)
    x1 = x + block.attn.proj((probs @ v).transpose(1, 2).flatten(2))
    expected = x1 + block.mlp(block.norm2(x1))
    torch.testing.assert_close(vit.encode(x, [0], (16, 24), groups)[0], expected)


def test_one_bias_for_the_batch(
    build_vit: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes, attend = [], layers.F.scaled_dot_product_attention

    def watch(q: Tensor, k: Tensor, v: Tensor, attn_mask: Tensor) -> Tensor:
        shapes.append(tuple(attn_mask.shape))
        assert attn_mask.dtype == q.dtype  # not every kernel takes another one
        return attend(q, k, v, attn_mask=attn_mask)

    monkeypatch.setattr(layers.F, 'scaled_dot_product_attention', watch)
    for kind in ('shared', 'block'):
        build_vit(rel_pos=kind)(torch.randn(5, 3, 32, 32))
        with torch.autocast('cpu', dtype=torch.bfloat16):
            build_vit(rel_pos=kind)(torch.randn(5, 3, 32, 32))
    assert shapes == [(1, 2, 17, 17)] * 12


@pytest.mark.parametrize('kind', ['shared', 'block'])
def test_is_one_graph(build_vit: Build, kind: str) -> None:
    torch.compiler.reset()
    vit = build_vit(rel_pos=kind, absolute_pos=False, layer_scale=0.1)
    traced = torch.compile(randomise(vit).forward, fullgraph=True, backend='eager')
    for size in ((32, 32), (24, 48)):
        images = torch.randn(2, 3, *size)
        torch.testing.assert_close(traced(images)[0], vit(images)[0])


@pytest.mark.parametrize('kind', ['shared', 'block'])
def test_tables_learn_at_every_size(build_vit: Build, kind: str) -> None:
    vit = build_vit(rel_pos=kind, absolute_pos=False, layer_scale=0.1)
    vit(torch.randn(2, 3, 48, 40))[0].square().sum().backward()
    for name, parameter in vit.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all() and parameter.grad.any(), name
        if name.endswith(TABLE):
            assert parameter.grad.any(1)[:-3].float().mean() > 0.9, name


def test_groups_stay_apart(build_vit: Build) -> None:
    for kind in ('shared', 'block'):
        vit = randomise(build_vit(rel_pos=kind, class_token=False))
        groups = torch.arange(16)[None] % 2 == 0
        x = torch.randn(2, 16, 32)
        y = torch.where(groups[..., None], x, torch.randn(2, 16, 32))
        one = vit.encode(x, [2], (32, 32), groups)[2]
        two = vit.encode(y, [2], (32, 32), groups)[2]
        assert torch.equal(one[groups.expand(2, -1)], two[groups.expand(2, -1)])


def test_without_any_position_places_do_not_matter(build_vit: Build) -> None:
    vit = build_vit(rel_pos='shared', absolute_pos=False)
    tokens, pos = vit.embed(torch.randn(2, 3, 32, 32))
    assert torch.equal(pos, torch.zeros(1, 1, 32))
    order = torch.randperm(16)
    one = vit.encode(tokens, [2], (32, 32))[2]
    two = vit.encode(tokens[:, order], [2], (32, 32))[2]
    torch.testing.assert_close(two[:, 1:], one[:, 1:][:, order])
    randomise(vit)
    one = vit.encode(tokens, [2], (32, 32))[2]
    two = vit.encode(tokens[:, order], [2], (32, 32))[2]
    assert not torch.allclose(two[:, 1:], one[:, 1:][:, order], atol=1e-3)


def test_new_random_weights_have_no_bias(build_vit: Build) -> None:
    vit = randomise(build_vit(rel_pos='block', layer_scale=0.1))
    vit.reset_parameters()
    for block in vit.blocks:
        assert not block.attn.relative_position_bias_table.any()
        assert torch.equal(block.gamma_2, torch.full((32,), 0.1))


def test_depths_for_layer_decay(build_vit: Build) -> None:
    vit = build_vit(rel_pos='block', layer_scale=0.1)
    assert vit.get_layer_depth(f'blocks.1.attn.{TABLE}') == (2, 5)
    assert vit.get_layer_depth('blocks.1.gamma_1') == (2, 5)
    shared = build_vit(rel_pos='shared')
    assert shared.get_layer_depth(f'rel_pos_bias.{TABLE}') == (4, 5)  # as in BEiT


def test_under_bf16(build_vit: Build) -> None:
    images = torch.randn(2, 3, 32, 32)
    for kind in ('shared', 'block'):
        vit = randomise(build_vit(rel_pos=kind, layer_scale=1.0))
        with torch.autocast('cpu', dtype=torch.bfloat16):
            x = vit(images)[0]
        torch.testing.assert_close(x.float(), vit(images)[0], rtol=0.1, atol=0.1)


def test_the_class_token_has_the_position_there_is(build_vit: Build) -> None:
    tokens = torch.randn(2, 16, 32)
    vit = build_vit()
    torch.nn.init.normal_(vit.pos_embed)
    expected = vit.cls_token[0] + vit.pos_embed[0, :1]
    assert torch.equal(vit.with_prefix(tokens)[1, :1], expected)
    vit = build_vit(rel_pos='block', absolute_pos=False)
    assert torch.equal(vit.with_prefix(tokens)[1, :1], vit.cls_token[0])


def test_mistakes(build_vit: Build, build_mim: Build) -> None:
    with pytest.raises(ValueError, match="rel_pos: got 'each'"):
        build_vit(rel_pos='each')
    with pytest.raises(ValueError, match='nothing else would tell the places apart'):
        build_vit(absolute_pos=False)
    with pytest.raises(ValueError, match='no positions to learn'):
        build_vit(absolute_pos=False, rel_pos='block', learned_pos=True)
    with pytest.raises(ValueError, match='DropPatches: got an encoder with windows'):
        build_mim(dict(rel_pos='shared'))
    vit = build_vit(rel_pos='shared')
    with pytest.raises(ValueError, match=r'got 9 tokens, expected.*4 x 4 places'):
        vit.encode(torch.randn(2, 9, 32), [2], (32, 32))
    state = vit.state_dict()
    state[f'rel_pos_bias.{TABLE}'] = torch.zeros(53, 2)
    with pytest.raises(ValueError, match='a table of 53 rows, expected 52'):
        vit.load_state_dict(state)
    assert isinstance(build_vit(rel_pos='block').blocks[0].attn, RelativeAttention)
