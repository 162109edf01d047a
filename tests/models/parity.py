"""What the comparisons with numbers of official code share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from mim_zoo.models import MIM
from mim_zoo.registry import MODELS

DATA = Path(__file__).parents[1] / 'data'


def load_golden(model: MIM, file: str, to_ours: Callable[[str], str]) -> dict:
    """Fill the model with the official weights of a file; returns its numbers."""
    numbers = load_file(DATA / file)
    state = {
        to_ours(k.removeprefix('state.')): v
        for k, v in numbers.items()
        if k.startswith('state.')
    }
    model.load_state_dict(state)  # strict: every official key has a place
    return numbers


def relative(ours: Tensor, theirs: Tensor) -> float:
    return float((ours - theirs).detach().abs().max() / theirs.abs().max())


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def same(features: Tensor) -> Tensor:
    return features


def assert_official(
    model: MIM,
    numbers: dict[str, Tensor],
    mask: Tensor,
    weight: nn.Parameter,
    arrange: Callable[[Tensor], Tensor] = same,
) -> None:
    """Latent, prediction and loss within 1e-5, the gradient's norm within 1e-4."""
    images = numbers['images']
    features, plan = model.complete(images, mask)
    assert relative(arrange(features[0]), numbers['latent']) < 1e-5

    pred = model.heads[0].decode(features, plan)[0]
    assert relative(pred, numbers['pred']) < 1e-5

    loss = model.loss(images, mask)['loss_0']
    assert relative(loss, numbers['loss']) < 1e-5
    loss.backward()
    (name,) = (k for k in numbers if k.startswith('grad_norm'))
    assert weight.grad is not None
    assert relative(weight.grad.norm(), numbers[name]) < 1e-4


def in_order_of(noise: Tensor) -> Callable[[Tensor], Tensor]:
    """From image order, (B, 1 + K, C), to that of the official noise (B, L)."""

    def arrange(features: Tensor) -> Tensor:
        kept = noise.argsort(1)[:, : features.shape[1] - 1]
        places = kept.argsort(1).argsort(1)  # rank of each official token in the image
        index = places[..., None].expand(-1, -1, features.shape[-1])
        return torch.cat([features[:, :1], features[:, 1:].gather(1, index)], dim=1)

    return arrange


def tiny_mae(depth: int, normalize: bool = True, **changes: Any) -> MIM:
    """The tiny MAE of the golden files, but for the given parts."""
    cfg: dict[str, Any] = dict(
        type='MAE',
        backbone=dict(
            type='MIMViT',
            arch=dict(embed_dim=48, depth=depth, num_heads=4),
            img_size=64,
        ),
        corruption=dict(type='DropPatches'),
        head=dict(
            type='MIMHead',
            target=dict(type='PixelTarget', normalize=normalize),
            loss=dict(type='MaskedMSE'),
            decoder=dict(type='TransformerDecoder', embed_dim=32, depth=2, num_heads=4),
        ),
    )
    return MODELS.build({**cfg, **changes})


def full_mae(arch: str, **changes: Any) -> MIM:
    """MAE at its published size, without memory for the weights."""
    cfg: dict[str, Any] = dict(
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
    with torch.device('meta'):
        return MODELS.build({**cfg, **changes})
