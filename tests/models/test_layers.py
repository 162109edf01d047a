"""Layer depths, groups, drop path, the block."""

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mim_zoo.models import MIMViT
from mim_zoo.models.layers import Block, DropPath

Build = Callable[..., MIMViT]

SIZE = (32, 32)


# --- layers ----------------------------------------------------------------------


@pytest.mark.parametrize('prefix', ['', 'backbone.'])
def test_layer_depths(build_vit: Build, prefix: str) -> None:
    vit = build_vit()
    expected = {
        'cls_token': 0,
        'pos_embed': 0,
        'patch_embed.proj.weight': 0,
        'blocks.0.norm1.weight': 1,
        'blocks.2.mlp.fc2.bias': 3,
        'norm.weight': 4,
    }
    for name, layer in expected.items():
        assert vit.get_layer_depth(prefix + name, prefix) == (layer, 5)
    if prefix:  # what is not the encoder's is last
        assert vit.get_layer_depth('head.weight', prefix) == (4, 5)
        assert vit.get_layer_depth('blocks.0.norm1.weight', prefix) == (4, 5)


def test_ten_blocks_are_told_apart(build_vit: Build) -> None:
    vit = build_vit(arch=dict(embed_dim=8, depth=12, num_heads=2))
    layers = {n: vit.get_layer_depth(n)[0] for n, _ in vit.named_parameters()}
    assert layers['blocks.1.norm1.weight'] == 2
    assert layers['blocks.11.norm1.weight'] == 12
    assert set(layers.values()) == set(range(14))


def test_groups_do_not_see_each_other(build_vit: Build) -> None:
    vit = build_vit(class_token=False)
    x = torch.randn(2, 10, 32)
    groups = torch.tensor([[0, 1, 0, 0, 1, 1, 0, 1, 0, 1]])
    for labels in (groups, torch.cat([groups, 1 - groups])):
        first = (labels == 0).expand(2, -1)
        changed = torch.where(first[..., None], torch.randn_like(x), x)
        before = vit.encode(x, [2], SIZE, labels)[2]
        after = vit.encode(changed, [2], SIZE, labels)[2]
        assert torch.equal(before[~first], after[~first])
        assert (before[first] != after[first]).any(-1).all()
    # each group is a sequence of its own
    alone = vit.encode(x[:, groups[0] == 1], [2], SIZE)[2]
    together = vit.encode(x, [2], SIZE, groups)[2][:, groups[0] == 1]
    torch.testing.assert_close(alone, together, rtol=1e-4, atol=1e-5)
    # and one group is no grouping
    torch.testing.assert_close(
        vit.encode(x, [2], SIZE, torch.zeros_like(groups))[2],
        vit.encode(x, [2], SIZE)[2],
    )


def test_groups_and_a_class_token(build_vit: Build) -> None:
    with pytest.raises(ValueError, match='class_token=False'):
        build_vit().encode(torch.randn(1, 4, 32), [2], SIZE, torch.zeros(1, 4))


def test_drop_path_statistics() -> None:
    torch.manual_seed(0)
    drop = DropPath(0.3)
    x = torch.ones(4000, 2, 3)
    y = drop(x)
    dropped = (y == 0).flatten(1)
    assert torch.equal(dropped.all(1), dropped.any(1))  # whole samples
    assert abs(dropped[:, 0].float().mean() - 0.3) < 0.03
    assert torch.allclose(y[~dropped[:, 0]], torch.tensor(1 / 0.7))  # mean kept
    assert drop.eval()(x) is x


def test_drop_path_grows_with_depth(build_vit: Build) -> None:
    vit = build_vit(drop_path_rate=0.2)
    rates = [block.drop_path.rate for block in vit.blocks]
    assert rates == pytest.approx([0, 0.1, 0.2])
    images = torch.randn(8, 3, 32, 32)
    assert torch.equal(vit(images)[0], vit(images)[0])
    vit.train()
    assert not torch.equal(vit(images)[0], vit(images)[0])
    one = build_vit(arch=dict(embed_dim=8, depth=1, num_heads=1), drop_path_rate=0.2)
    assert one.blocks[0].drop_path.rate == 0


def reference_block(block: torch.nn.Module, x: Tensor) -> Tensor:
    """A transformer block from its formula."""
    B, N, C = x.shape
    heads = block.attn.num_heads
    y = F.layer_norm(x, (C,), block.norm1.weight, block.norm1.bias, 1e-6)
    q, k, v = (
        part.view(B, N, heads, C // heads).transpose(1, 2)
        for part in block.attn.qkv(y).split(C, dim=-1)
    )
    weights = (q @ k.transpose(-1, -2) / math.sqrt(C // heads)).softmax(-1)
    x = x + block.attn.proj((weights @ v).transpose(1, 2).reshape(B, N, C))
    y = F.layer_norm(x, (C,), block.norm2.weight, block.norm2.bias, 1e-6)
    return x + block.mlp.fc2(F.gelu(block.mlp.fc1(y)))


def test_block_formula(build_vit: Build) -> None:
    block = build_vit().blocks[1]
    x = torch.randn(2, 7, 32)
    torch.testing.assert_close(block(x), reference_block(block, x))


def test_layer_scale() -> None:
    x = torch.randn(2, 5, 16)
    assert torch.equal(Block(16, 2, layer_scale=0.0)(x), x)
    torch.manual_seed(0)
    plain = Block(16, 2)
    scaled = Block(16, 2, layer_scale=1.0)
    scaled.load_state_dict(plain.state_dict(), strict=False)
    torch.testing.assert_close(scaled(x), plain(x))
    assert [k for k in plain.state_dict() if 'gamma' in k] == []
    torch.nn.init.normal_(scaled.gamma_1)
    scaled.reset_parameters()
    assert torch.equal(scaled.gamma_1, torch.ones(16))
