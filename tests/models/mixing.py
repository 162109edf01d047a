"""Small models that mix two images, on either encoder."""

from collections.abc import Callable
from typing import Any

import pytest
from torch import Tensor

from mim_zoo.models import MIM

Build = Callable[..., MIM]
Masks = Callable[..., Tensor]

HIERARCHY = dict(
    type='MixMIMViT',
    arch=dict(
        embed_dim=16, depths=(1, 2), num_heads=(1, 2), windows=(4, 4), patch_size=4
    ),
    img_size=32,
)
PLAIN = dict(
    type='MIMViT',
    arch=dict(embed_dim=32, depth=3, num_heads=2),
    img_size=32,
    patch_size=8,
    class_token=False,
)
ENCODERS = pytest.mark.parametrize(
    'backbone', [HIERARCHY, PLAIN], ids=lambda cfg: cfg['type']
)
GRID, L = (3, 5), 15
SIZE = (24, 40)


def build_mixing(build_mim: Build, backbone: dict, **changes: Any) -> MIM:
    cfg: dict = dict(
        backbone=backbone,
        corruption=dict(type='MixImages'),
        data_preprocessor=dict(
            type='MIMDataPreprocessor',
            batch_transforms=[dict(type='MixedMasking', ratio=0.5)],
        ),
    )
    return build_mim(**{**cfg, **changes})
