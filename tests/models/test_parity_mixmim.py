"""Numbers of the official MixMIM code, of a tiny random model."""

import pytest
import torch
from parity import assert_official, load_golden, tiny_mae
from torch import Tensor

from mim_zoo.models import MIM

BACKBONE = dict(
    type='MixMIMViT',
    arch=dict(
        embed_dim=16, depths=(1, 1, 2, 1), num_heads=(1, 2, 4, 8), windows=(8, 8, 8, 4)
    ),
    img_size=128,
)
HEAD = dict(
    type='MIMHead',
    target=dict(type='PixelTarget'),
    loss=dict(type='MaskedMSE'),
    decoder=dict(
        type='TransformerDecoder', embed_dim=32, depth=2, num_heads=4, norm_eps=1e-5
    ),
)


def to_ours(name: str) -> str:
    """An official MixMIM key under our name."""
    if name.startswith(('decoder_', 'mask_token')):
        return 'head.decoders.0.' + name.removeprefix('decoder_')
    return 'backbone.' + name


@pytest.fixture
def golden() -> tuple[MIM, dict[str, Tensor]]:
    model = tiny_mae(
        depth=1,
        type='MixMIM',
        backbone=BACKBONE,
        corruption=dict(type='MixImages'),
        head=HEAD,
    )
    return model, load_golden(model, 'mixmim_tiny.safetensors', to_ours)


@pytest.mark.parametrize('masks', [1, 4])
def test_official_numbers(golden: tuple[MIM, dict[str, Tensor]], masks: int) -> None:
    model, numbers = golden
    mask = numbers['mask'][..., 0].bool()  # (1, L)
    assert mask.sum() == 8
    # equal masks for all pairs are one for the batch
    assert_official(
        model,
        numbers,
        mask.repeat(masks, 1),
        model.backbone.layers[0].blocks[0].attn.qkv.weight,
    )


def test_official_positions(golden: tuple[MIM, dict[str, Tensor]]) -> None:
    model, _ = golden
    decoder = model.head.decoders[0]
    loaded = model.backbone.absolute_pos_embed.clone(), decoder.pos_embed.clone()
    model.backbone.reset_parameters()
    decoder.reset_parameters()
    found = model.backbone.absolute_pos_embed, decoder.pos_embed
    torch.testing.assert_close(found, loaded, rtol=0, atol=2e-7)
