"""Tiny models that the tests of this folder share."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import torch

import mim_zoo.models  # noqa: F401
from mim_zoo.models import MIM
from mim_zoo.registry import MODELS

BACKBONE = dict(
    type='MIMViT',
    arch=dict(embed_dim=32, depth=3, num_heads=2),
    img_size=32,
    patch_size=8,
)
DECODER = dict(type='TransformerDecoder', embed_dim=16, depth=1, num_heads=2)
HEAD = dict(
    type='MIMHead',
    target=dict(type='PixelTarget'),
    loss=dict(type='MaskedMSE'),
    decoder=DECODER,
)


def make_mim(backbone: dict | None = None, **changes: Any) -> MIM:
    torch.manual_seed(0)
    backbone = backbone or {}
    cfg: dict[str, Any] = dict(
        type='MIM',
        backbone=backbone if 'type' in backbone else {**BACKBONE, **backbone},
        corruption=dict(type='DropPatches'),
        head=dict(HEAD),
    )
    cfg.update(changes)
    channels = cfg['backbone'].get('in_channels', 3)
    cfg.setdefault(
        'data_preprocessor',
        dict(type='MIMDataPreprocessor', mean=[0.0] * channels, std=[1.0] * channels),
    )
    return MODELS.build(deepcopy(cfg)).eval()


@pytest.fixture
def build_mim() -> Callable[..., MIM]:
    """Builds MAE on 4 x 4 patches of 8 pixels, but for the given changes.

    A backbone with a type is taken as it is.
    """
    return make_mim


@pytest.fixture
def build_vit() -> Callable[..., Any]:
    """Builds an encoder of dim 32, depth 3 on 4 x 4 patches of 8 pixels."""

    def build(**changes: Any) -> Any:
        torch.manual_seed(0)
        return MODELS.build(dict(BACKBONE, **changes)).eval()

    return build


@pytest.fixture
def head_cfg() -> dict:
    return deepcopy(HEAD)


@pytest.fixture
def decoder_cfg() -> dict:
    return deepcopy(DECODER)


@pytest.fixture
def random_mask() -> Callable[..., torch.Tensor]:
    """Masks (B, L) that hide ``hidden`` random patches each."""

    def draw(batch: int, patches: int, hidden: int) -> torch.Tensor:
        order = torch.rand(batch, patches).argsort(1)
        return order < hidden

    return draw
