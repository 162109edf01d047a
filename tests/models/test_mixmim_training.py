"""The hierarchical encoder in training: memory, init, depths, weights of others."""

import math
from typing import Any

import pytest
import torch
from hierarchy import build
from torch import nn

# --- training --------------------------------------------------------------------


def test_checkpointing_changes_nothing() -> None:
    images = torch.randn(2, 3, 64, 64)
    gradients = []
    for with_cp in (False, True):
        encoder = build(with_cp=with_cp, drop_path_rate=0.3).train()
        calls = 0

        def count(*_: Any) -> None:
            nonlocal calls
            calls += 1

        encoder.layers[0].blocks[0].norm1.register_forward_hook(count)
        torch.manual_seed(1)
        encoder(images)[0].square().sum().backward()
        assert calls == 1 + with_cp
        gradients.append(
            {k: p.grad for k, p in encoder.named_parameters() if p.requires_grad}
        )
    torch.testing.assert_close(gradients[0], gradients[1])


def test_drop_path_grows_over_all_blocks() -> None:
    encoder = build(drop_path_rate=0.4)
    rates = [b.drop_path.rate for stage in encoder.layers for b in stage.blocks]
    assert rates == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])


def test_random_init_is_the_official_one() -> None:
    encoder = build('base', img_size=32)
    block = encoder.layers[2].blocks[0]
    bound = math.sqrt(6 / (512 + 3 * 512))
    assert 0.95 * bound < block.attn.qkv.weight.abs().max() <= bound
    assert block.attn.qkv.bias.abs().max() == 0
    assert 0.018 < block.attn.relative_position_bias_table.std() < 0.022
    # the stem keeps Conv2d's own init: uniform in 1 / sqrt(fan in)
    assert 0.95 / math.sqrt(48) < encoder.patch_embed.proj.weight.abs().max()
    assert encoder.patch_embed.proj.weight.abs().max() <= 1 / math.sqrt(48)
    assert all(m.eps == 1e-5 for m in encoder.modules() if isinstance(m, nn.LayerNorm))
    assert not encoder.absolute_pos_embed.requires_grad


@pytest.mark.parametrize('prefix', ['', 'backbone.'])
def test_layer_depths(prefix: str) -> None:
    encoder = build(final_norm=True, group_mode='embedding')
    expected = {
        'patch_embed.norm.weight': 0,
        'absolute_pos_embed': 0,
        'layers.0.blocks.0.norm1.weight': 1,
        'layers.0.downsample.norm.weight': 2,
        'layers.1.blocks.0.attn.relative_position_bias_table': 2,
        'layers.1.group_embed': 2,
        'layers.1.downsample.reduction.weight': 3,
        'layers.2.blocks.1.mlp.fc1.bias': 4,
        'layers.2.downsample.reduction.weight': 5,
        'layers.3.blocks.0.attn.qkv.weight': 5,
        'norm.weight': 6,
    }
    names = dict(encoder.named_parameters())
    for name, depth in expected.items():
        assert name in names
        assert encoder.get_layer_depth(prefix + name, prefix) == (depth, 7)
    assert encoder.get_layer_depth('head.weight', 'backbone.') == (6, 7)


# --- loading ---------------------------------------------------------------------


def test_weights_of_another_size_and_window(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = build(img_size=64)
    path = tmp_path / 'old.pth'
    torch.save(
        {'state_dict': {f'backbone.{k}': v for k, v in old.state_dict().items()}}, path
    )
    source = dict(type='Pretrained', checkpoint=str(path), prefix='backbone.')
    new = build(img_size=(96, 128), windows=(6, 6, 6, 3), init_cfg=source)
    said: list[str] = []
    monkeypatch.setattr(
        'mim_zoo.models.mixmim_vit.print_log', lambda text, *_: said.append(text)
    )
    new.init_weights()
    assert said == [
        'Bias tables of windows [4, 4, 4, 2] are resampled to [6, 6, 6, 3].'
    ]
    build(init_cfg=source).init_weights()
    assert len(said) == 1  # nothing to say where they fit
    assert new.absolute_pos_embed.shape == (1, 24 * 32, 8)
    assert new.layers[3].blocks[0].attn.relative_position_bias_table.shape == (25, 4)
    assert torch.equal(
        new.layers[2].blocks[1].mlp.fc1.weight, old.layers[2].blocks[1].mlp.fc1.weight
    )
    images = torch.randn(1, 3, 96, 128)  # the same positions, before or after loading
    torch.testing.assert_close(new.embed(images), old.embed(images))
