"""What a state dict in our names says about its model, and models built from that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from inspect import signature
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mim_zoo.engine.loading import load_weights
from mim_zoo.models.encoder import Encoder, pool_tokens
from mim_zoo.models.vit_options import ARCHS

from .names import family_of
from .pooling import pool_of, usual_pool

TIMM_NAMES = {
    'tiny': 'vit_tiny_patch16_224',
    'small': 'vit_small_patch16_224',
    'base': 'vit_base_patch16_224',
    'large': 'vit_large_patch16_224',
    'huge': 'vit_huge_patch14_224',
}
_EPS = 1e-6  # of every LayerNorm, and of the BatchNorm of linear probes


def encoder_arguments(
    state: Mapping[str, Tensor],
    num_heads: int | None = None,
    img_size: int | Sequence[int] | None = None,
) -> dict[str, Any]:
    """Arguments of the encoder in ``state``.

    Plain ViTs other than the known architectures need ``num_heads``, learned positions
    of images that are not square ``img_size``, else ValueError.
    """
    return family_of(state).arguments(state, num_heads, img_size)


def timm_call(
    state: Mapping[str, Tensor], num_heads: int | None = None, pool: str | None = None
) -> tuple[str, dict[str, Any]]:
    """Name and arguments with which ``timm.create_model`` builds the model.

    ``pool``: of a classifier, whose weights may leave it open. ValueError if timm has
    no such encoder.
    """
    family_of(state).check_format('timm')
    found = encoder_arguments(state, num_heads)
    if 'rel_pos' in found:
        raise ValueError(
            f'timm has no place for rel_pos={found["rel_pos"]!r}; keep it in our names'
        )
    arch, patch = found['arch'], found['patch_size']
    same = isinstance(arch, str) and ARCHS[arch].get('patch_size', 16) == patch
    named = TIMM_NAMES.get(arch) if same else None  # type: ignore[arg-type]
    options: dict[str, Any] = {}
    if named is None:
        options = dict(ARCHS[arch]) if isinstance(arch, str) else dict(arch)
        options['patch_size'] = patch
    if found['img_size'] != 224:
        options['img_size'] = found['img_size']
    if found['in_channels'] != 3:
        options['in_chans'] = found['in_channels']
    mean, own_norm = _pool(state, pool) == 'avg', 'fc_norm.weight' in state
    if mean:
        options['global_pool'] = 'avg'
    if mean != own_norm:
        options['fc_norm'] = own_norm
    if not (own_norm or found['final_norm']):
        _check_timm_without_norm()
        options['final_norm'] = False
    if not found['class_token']:
        options['class_token'] = False
    head = state.get('head.weight')
    options['num_classes'] = 0 if head is None else len(head)
    return named or TIMM_NAMES['base'], options


def build_encoder(state: Mapping[str, Tensor], num_heads: int | None = None) -> Encoder:
    """The encoder in ``state``, all its weights loaded, in evaluation mode."""
    family = family_of(state)
    encoder = family.encoder(**family.arguments(state, num_heads)).eval()
    load_weights(encoder, state, prefix='backbone.', min_share=1.0)
    return encoder


@torch.no_grad()
def outputs(
    encoder: Encoder,
    state: Mapping[str, Tensor],
    images: Tensor,
    pool: str | None = None,
) -> Tensor:
    """What the model in ``state`` says of images: class scores, or pooled features."""
    tokens = encoder.forward_features(images)
    x = pool_tokens(tokens, encoder.num_prefix_tokens, _pool(state, pool))
    if 'fc_norm.weight' in state:
        affine = state['fc_norm.weight'], state['fc_norm.bias']
        x = F.layer_norm(x, x.shape[1:], *affine, eps=_EPS)
    if 'bn.running_mean' in state:
        statistics = state['bn.running_mean'], state['bn.running_var']
        x = F.batch_norm(x, *statistics, eps=_EPS)
    if 'head.weight' in state:
        x = F.linear(x, state['head.weight'], state['head.bias'])
    return x


@torch.no_grad()
def compare_with_timm(
    state: Mapping[str, Tensor],
    path: str | Path,
    num_heads: int | None = None,
    pool: str | None = None,
) -> float:
    """Largest difference between our model and the timm model that ``path`` gives.

    Over all tokens and the final output, for two random images; relative to the
    largest value where that is above 1.
    """
    import timm

    name, options = timm_call(state, num_heads, pool)
    theirs: Any = timm.create_model(name, checkpoint_path=str(path), **options).eval()
    encoder = build_encoder(state, num_heads)
    state = {k: v.float() for k, v in state.items() if v.is_floating_point()}
    generator = torch.Generator().manual_seed(0)
    shape = (2, encoder.in_channels, *encoder.img_size)
    images = torch.randn(shape, generator=generator)
    scores = outputs(encoder, state, images, pool)
    ours = encoder.forward_features(images), scores
    other = theirs.forward_features(images), theirs(images)
    return max(_difference(a, b) for a, b in zip(ours, other))


def _pool(state: Mapping[str, Tensor], pool: str | None) -> str:
    """That of the classifier; of an encoder alone, timm's."""
    return pool_of(state, pool) or usual_pool(state)


def _check_timm_without_norm() -> None:
    """ValueError if the timm that is installed is too old for it."""
    import timm
    from timm.models.vision_transformer import VisionTransformer

    if 'final_norm' not in signature(VisionTransformer).parameters:
        raise ValueError(
            f'timm {timm.__version__} has no ViT without a norm at its end, expected '
            'one whose VisionTransformer takes final_norm=False: pip install -U timm'
        )


def _difference(ours: Tensor, theirs: Tensor) -> float:
    return float((ours - theirs).abs().max() / theirs.abs().max().clamp(min=1))


def describe(state: Mapping[str, Tensor]) -> str:
    """One line on what a state dict in our names holds."""
    parts = [family_of(state).summary(state)]
    shares = state.get('neck.fusions.0.proj_weights')
    if shares is not None:
        parts.append(f'{len(shares)} levels fused')
    if decoders := _decoders(state):
        parts.append(decoders)
    if 'head.weight' in state:
        parts.append(f'{len(state["head.weight"])} classes')
    return ', '.join(parts)


def _decoders(state: Mapping[str, Tensor]) -> str:
    """How many and how wide; nothing if there is none."""
    count = len({k.split('.')[2] for k in state if k.startswith('head.decoders.')})
    if not count:
        return ''
    embed = state.get('head.decoders.0.embed.weight')
    text = 'linear decoder' if embed is None else 'decoder'
    text = text if count == 1 else f'{count} {text}s'
    return text if embed is None else f'{text} of width {len(embed)}'
