"""Numbers of the official MAE code (tiny random models) and of the paper's sizes."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from mim_zoo.models import MAE
from mim_zoo.registry import MODELS

DATA = Path(__file__).parents[1] / 'data'


def to_ours(name: str) -> str:
    """An official MAE key under our name."""
    if name == 'mask_token':
        return 'head.decoders.0.mask_token'
    if name.startswith('decoder_'):
        return 'head.decoders.0.' + name.removeprefix('decoder_')
    return 'backbone.' + name


def tiny_mae(normalize: bool) -> MAE:
    return MODELS.build(
        dict(
            type='MAE',
            backbone=dict(
                type='MIMViT',
                arch=dict(embed_dim=48, depth=4, num_heads=4),
                img_size=64,
            ),
            corruption=dict(type='DropPatches'),
            head=dict(
                type='MIMHead',
                target=dict(type='PixelTarget', normalize=normalize),
                loss=dict(type='MaskedMSE'),
                decoder=dict(
                    type='TransformerDecoder', embed_dim=32, depth=2, num_heads=4
                ),
            ),
        )
    )


@pytest.fixture(params=['normpix', 'rawpix'])
def golden(request: pytest.FixtureRequest) -> tuple[MAE, dict[str, Tensor]]:
    numbers = load_file(DATA / f'mae_tiny_{request.param}.safetensors')
    model = tiny_mae(request.param == 'normpix')
    state = {
        to_ours(k.removeprefix('state.')): v
        for k, v in numbers.items()
        if k.startswith('state.')
    }
    model.load_state_dict(state)  # strict: every official key has a place
    return model, numbers


def relative(ours: Tensor, theirs: Tensor) -> float:
    return float((ours - theirs).detach().abs().max() / theirs.abs().max())


def test_official_numbers(golden: tuple[MAE, dict[str, Tensor]]) -> None:
    model, numbers = golden
    images, mask = numbers['images'], numbers['mask'].bool()
    features, plan = model.complete(images, mask)
    # ours keeps image order, the official code the order of its noise
    kept = numbers['noise'].argsort(1)[:, : features[0].shape[1] - 1]
    places = kept.argsort(1).argsort(1)  # rank of each official token in the image
    latent = features[0][:, 1:].gather(1, places[..., None].expand(-1, -1, 48))
    latent = torch.cat([features[0][:, :1], latent], dim=1)
    assert relative(latent, numbers['latent']) < 1e-5

    predictions, _ = model.heads[0].predict(features, images, plan)
    assert relative(predictions['loss_0'], numbers['pred']) < 1e-5

    loss = model.loss(images, mask)['loss_0']
    assert relative(loss, numbers['loss']) < 1e-5
    loss.backward()
    grad = model.backbone.blocks[0].attn.qkv.weight.grad
    (name,) = (k for k in numbers if k.startswith('grad_norm'))
    assert relative(grad.norm(), numbers[name]) < 1e-4


def test_official_positions(golden: tuple[MAE, dict[str, Tensor]]) -> None:
    model, _ = golden
    loaded = model.backbone.pos_embed.clone(), model.head.decoders[0].pos_embed.clone()
    model.backbone.reset_parameters()
    model.head.decoders[0].reset_parameters()
    torch.testing.assert_close(model.backbone.pos_embed, loaded[0], rtol=0, atol=2e-7)
    torch.testing.assert_close(
        model.head.decoders[0].pos_embed, loaded[1], rtol=0, atol=2e-7
    )


def count(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(
    'arch, total, encoder',
    [
        ('small', 47_578_240, None),
        ('base', 111_907_840, 85_798_656),
        ('large', 329_541_888, 303_301_632),
        ('huge', 657_074_508, 630_764_800),
    ],
)
def test_pretraining_totals(arch: str, total: int, encoder: int | None) -> None:
    with torch.device('meta'):
        model = MODELS.build(
            dict(
                type='MAE',
                backbone=dict(type='MIMViT', arch=arch),
                corruption=dict(type='DropPatches'),
                head=dict(
                    type='MIMHead',
                    target=dict(type='PixelTarget'),
                    loss=dict(type='MaskedMSE'),
                    decoder=dict(type='TransformerDecoder'),
                ),
            )
        )
    assert count(model) == total
    assert encoder is None or count(model.backbone) == encoder


@pytest.mark.parametrize('pool, head_norm', [('avg', 'layer'), ('cls', None)])
@pytest.mark.parametrize(
    'arch, total',
    [
        ('small', 22_050_664),
        ('base', 86_567_656),
        ('large', 304_326_632),
        ('huge', 632_045_800),
    ],
)
def test_fine_tuning_totals(
    arch: str, total: int, pool: str, head_norm: str | None
) -> None:
    with torch.device('meta'):
        model = MODELS.build(
            dict(
                type='Classifier',
                backbone=dict(type='MIMViT', arch=arch),
                num_classes=1000,
                pool=pool,
                head_norm=head_norm,
            )
        )
    assert count(model) == total
