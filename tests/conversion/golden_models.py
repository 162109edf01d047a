"""Our models of the sizes that the golden files have."""

from typing import Any

import torch

from mim_zoo.models import MIM
from mim_zoo.registry import MODELS

MIXMIM = dict(
    type='MixMIMViT',
    arch=dict(
        embed_dim=16, depths=(1, 1, 2, 1), num_heads=(1, 2, 4, 8), windows=(8, 8, 8, 4)
    ),
    img_size=128,
)
PLAIN = dict(type='MIMViT', arch=dict(embed_dim=48, depth=6, num_heads=4), img_size=64)


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def _model(norm_eps: float, **parts: Any) -> MIM:
    head = dict(
        type='MIMHead',
        target=dict(type='PixelTarget'),
        decoder=dict(
            type='TransformerDecoder',
            embed_dim=32,
            depth=2,
            num_heads=4,
            norm_eps=norm_eps,
        ),
        loss=dict(type='MaskedMSE'),
    )
    return MODELS.build(dict(head=head, **parts))


def mixmim_model(**backbone: Any) -> MIM:
    corruption = dict(type='MixImages')
    backbone = {**MIXMIM, **backbone}
    return _model(1e-5, type='MixMIM', backbone=backbone, corruption=corruption)


def mff_model(**neck: Any) -> MIM:
    return _model(
        1e-6,
        type='MFF',
        backbone=PLAIN,
        corruption=dict(type='DropPatches'),
        neck=dict(type='LevelFusion', outputs=[[0, 2, 5]], **neck),
    )
