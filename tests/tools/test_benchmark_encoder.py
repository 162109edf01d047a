"""What ``tools/benchmark.py encoder`` measures."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from measuring import blocks, write
from test_cli import python

from mim_zoo.benchmark import EncoderPass, EncoderWork, encoder_side

WINDOW = 'model.backbone.window={}'


def test_the_encoder_of_any_config(tmp_path) -> None:
    config = tmp_path / 'tuned.py'
    config.write_text(
        "model = dict(type='Classifier', backbone=dict(type='mim_zoo.MixMIMViT', "
        "arch='micro', init_cfg=dict(type='Pretrained', checkpoint='gone.pth')))"
    )
    found = encoder_side(str(config), {'model.backbone.windows': [4, 4]})
    assert found.model == dict(
        type='mim_zoo.MixMIMViT', arch='micro', windows=[4, 4], init_cfg=None
    )
    assert found.options == {'model.backbone.windows': [4, 4]}
    config.write_text("model = dict(type='X', backbone=dict(type='Linear'))")
    with pytest.raises(ValueError, match='backbone is Linear, expected an'):
        encoder_side(str(config), {})
    config.write_text("model = dict(type='X')")
    with pytest.raises(ValueError, match='backbone is none'):
        encoder_side(str(config), {})


@pytest.mark.parametrize('backward', [False, True])
def test_an_encoder_alone(side, backward) -> None:
    encoder = replace(side, model=side.model['backbone'], optim_wrapper={})
    built = EncoderPass(encoder, EncoderWork(2, backward=backward, image_size=(16, 48)))
    assert built.facts()['image_shape'] == (3, 16, 48)
    built.prepare((3, 16, 48), 1)
    assert built.model.training == backward and built.images.std() < 1.1
    assert built.run(2) > 0 and 'first_loss' not in built.result()
    trunk, embedding = blocks(1 + 48, 16, 2), 2 * 48 * 3 * 4 * 4 * 16
    expected = 3 * trunk + 2 * embedding if backward else trunk + embedding
    assert built.flops_per_image() == expected


def test_an_encoder_computes_at_its_own_size(side) -> None:
    encoder = replace(side, model=side.model['backbone'], optim_wrapper={})
    built = EncoderPass(encoder, EncoderWork(2, backward=True))
    seen: list[tuple[torch.Size, bool]] = []
    built.model.register_forward_pre_hook(
        lambda _, images: seen.append((images[0].shape, torch.is_grad_enabled()))
    )
    built.prepare(built.facts()['image_shape'], 1)
    assert seen == [((2, 3, 32, 32), True)]
    assert all(p.grad is None for p in built.model.parameters())


@pytest.mark.slow
def test_an_encoder_with_other_options(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, 'one', 1)
    text = python(
        *('benchmark', 'encoder', '--config', 'one.py', '--image-size', 32, 64),
        *('--cfg-options', 'model.backbone.class_token=False', WINDOW.format(4)),
        *('--against-options', WINDOW.format(None)),
        *('--device', 'cpu', '--batch', 1, '--pairs', 1, '--json', 'x.json'),
    )
    result = json.loads(Path('x.json').read_text())
    one, two = result['sides']
    assert one['options']['model.backbone.window'] == 4
    assert two['options'] == {**one['options'], 'model.backbone.window': None}
    assert one['image_shape'] == [3, 32, 64]
    assert one['gflops_per_image'] < two['gflops_per_image']
    assert 'encoder, forward, 32 x 64 px, batch 1, fp32' in text
    assert 'other: one model.backbone.class_token=False model.' in text
