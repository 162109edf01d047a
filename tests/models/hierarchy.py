"""A tiny hierarchical encoder."""

from typing import Any

import torch

from mim_zoo.models import MixMIMViT
from mim_zoo.registry import MODELS

TINY = dict(
    embed_dim=8, depths=(1, 1, 2, 1), num_heads=(1, 2, 2, 4), windows=(4, 4, 4, 2)
)


def build(arch: str | dict = TINY, **options: Any) -> MixMIMViT:
    torch.manual_seed(0)
    cfg = dict(type='MixMIMViT', arch=arch, **dict(dict(img_size=64), **options))
    return MODELS.build(cfg).eval()
