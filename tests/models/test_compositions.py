"""Every composition of parts trains, and traces as one graph."""

import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from mim_zoo.models import MIM

Build = Callable[..., MIM]
Masks = Callable[..., Tensor]

LINEAR = dict(type='LinearDecoder')
TRANSFORMER = dict(type='TransformerDecoder', embed_dim=16, depth=1, num_heads=2)
PAIRS = [
    ('DropPatches', TRANSFORMER),
    ('MaskPatches', TRANSFORMER),
    ('MaskPatches', LINEAR),
]
TARGETS = [
    dict(type='PixelTarget'),
    dict(type='PixelTarget', normalize=False),
    dict(type='LowPassTarget'),
    dict(type='HOGTarget'),
    dict(type='TeacherTarget', norm=False, normalize=True),
    dict(type='TeacherTarget', layers=[0, -1]),
]
LOSSES = ['MaskedMSE', 'MaskedL1', 'MaskedSmoothL1', 'MaskedCosine']
NECKS: list[dict[str, Any]] = [
    dict(outputs=[[-1]]),
    dict(outputs=[[0, 1, -1]]),
    dict(outputs=[[0], [2]]),
    dict(outputs=[[0, 1], [1, 2]]),
    dict(outputs='all', proj='none'),
    dict(outputs=[[0, 2]], proj='mlp'),
    dict(outputs=[[1, 2]], fusion='attention'),
    dict(outputs=[[1], [0, 1, 2]], proj='none', fusion='attention'),
]
SIZES = [(32, 32), (16, 40), (48, 24)]  # built for 32 x 32
CHANNELS = [1, 3, 4, 13]


def compositions(count: int = 32) -> list[tuple]:
    """A fixed random part of the product of all axes, with every value in it."""
    axes: list[Sequence] = [PAIRS, TARGETS, LOSSES, NECKS, SIZES, CHANNELS]
    draw = random.Random(0)
    columns = [draw.sample(list(axis) * count, count) for axis in axes]
    assert all(v in column for axis, column in zip(axes, columns) for v in axis)
    return list(zip(*columns))


def describe(value: Any) -> str:
    return '-'.join(str(v.get('type', v) if isinstance(v, dict) else v) for v in value)


@pytest.mark.parametrize('parts', compositions(), ids=describe)
@pytest.mark.parametrize('class_token', [True, False])
def test_every_composition_trains(
    build_mim: Build, random_mask: Masks, parts: tuple, class_token: bool
) -> None:
    (corruption, decoder), target, loss, neck, size, channels = parts
    model = build_mim(
        dict(in_channels=channels, class_token=class_token),
        corruption=dict(type=corruption),
        neck=dict(type='LevelFusion', **neck),
        head=dict(type='MIMHead', target=target, loss=dict(type=loss), decoder=decoder),
    ).train()
    patches = size[0] * size[1] // 64
    images = torch.randn(2, channels, *size)
    mask = random_mask(2, patches, patches * 3 // 4)
    values = model.loss(images, mask)
    assert all(v.shape == () and v.isfinite() for v in values.values())
    losses = {k: v for k, v in values.items() if 'loss' in k}
    assert list(losses) == [f'loss_{i}' for i in range(len(model.neck.outputs))]
    assert values.keys() - losses.keys() == model.neck.log_values().keys()
    sum(losses.values()).backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, f'{name} is not used'
            assert parameter.grad.isfinite().all(), name
        else:
            assert name.endswith('pos_embed') or '.target.teacher.' in name
    # linear layers of a block really get something
    assert model.backbone.blocks[0].attn.qkv.weight.grad.abs().max() > 0
    assert model.backbone.patch_embed.proj.weight.grad.abs().max() > 0


@pytest.mark.parametrize(
    'corruption, decoder, loss, fusion',
    [
        (*PAIRS[0], 'MaskedMSE', 'weighted'),
        (*PAIRS[1], 'MaskedCosine', 'attention'),
        (*PAIRS[2], 'MaskedSmoothL1', 'weighted'),
    ],
    ids=lambda v: v.get('type') if isinstance(v, dict) else v,
)
def test_the_step_is_one_graph(
    build_mim: Build,
    random_mask: Masks,
    corruption: str,
    decoder: dict,
    loss: str,
    fusion: str,
) -> None:
    torch.compiler.reset()
    model = build_mim(
        corruption=dict(type=corruption),
        neck=dict(type='LevelFusion', outputs=[[0, 1], [2]], fusion=fusion),
        head=dict(
            type='MIMHead',
            target=dict(type='PixelTarget'),
            loss=dict(type=loss),
            decoder=decoder,
        ),
    ).train()
    images, mask = torch.randn(2, 3, 32, 48), random_mask(2, 24, 18)
    traced = torch.compile(model.loss, fullgraph=True, backend='eager')
    torch.testing.assert_close(
        traced(images, mask, num_hidden=18), model.loss(images, mask)
    )


def test_the_step_under_bf16(build_mim: Build, random_mask: Masks) -> None:
    images, mask = torch.randn(2, 3, 32, 32), random_mask(2, 16, 12)
    for corruption, decoder in PAIRS:
        model = build_mim(
            corruption=dict(type=corruption),
            head=dict(
                type='MIMHead',
                target=dict(type='PixelTarget'),
                loss=dict(type='MaskedMSE'),
                decoder=decoder,
            ),
        )
        with torch.autocast('cpu', dtype=torch.bfloat16):
            loss = model.loss(images, mask)['loss_0']
        assert loss.dtype == torch.float32
        torch.testing.assert_close(
            loss, model.loss(images, mask)['loss_0'], rtol=2e-2, atol=0
        )
