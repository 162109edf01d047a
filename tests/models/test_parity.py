"""Numbers of the official MAE code (tiny random models) and of the paper's sizes."""

import pytest
import torch
from parity import assert_official, count, full_mae, in_order_of, load_golden, tiny_mae
from torch import Tensor

from mim_zoo.models import MIM
from mim_zoo.registry import MODELS


def to_ours(name: str) -> str:
    """An official MAE key under our name."""
    if name == 'mask_token':
        return 'head.decoders.0.mask_token'
    if name.startswith('decoder_'):
        return 'head.decoders.0.' + name.removeprefix('decoder_')
    return 'backbone.' + name


@pytest.fixture(params=['normpix', 'rawpix'])
def golden(request: pytest.FixtureRequest) -> tuple[MIM, dict[str, Tensor]]:
    model = tiny_mae(depth=4, normalize=request.param == 'normpix')
    file = f'mae_tiny_{request.param}.safetensors'
    return model, load_golden(model, file, to_ours)


def test_official_numbers(golden: tuple[MIM, dict[str, Tensor]]) -> None:
    model, numbers = golden
    assert_official(
        model,
        numbers,
        numbers['mask'].bool(),
        model.backbone.blocks[0].attn.qkv.weight,
        in_order_of(numbers['noise']),
    )


def test_official_positions(golden: tuple[MIM, dict[str, Tensor]]) -> None:
    model, _ = golden
    loaded = model.backbone.pos_embed.clone(), model.head.decoders[0].pos_embed.clone()
    model.backbone.reset_parameters()
    model.head.decoders[0].reset_parameters()
    torch.testing.assert_close(model.backbone.pos_embed, loaded[0], rtol=0, atol=2e-7)
    torch.testing.assert_close(
        model.head.decoders[0].pos_embed, loaded[1], rtol=0, atol=2e-7
    )


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
    model = full_mae(arch)
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
