"""Encoders and models by name, and features, without a line of configuration."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import fnmatch
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.registry import MODELS as ROOT
from mmengine.registry import DefaultScope
from PIL import Image
from torch import Tensor, nn

from .conversion import guess_format, to_ours
from .conversion.shapes import encoder_arguments
from .conversion.stored import stored_statistics
from .engine.loading import load_weights, read_checkpoint, state_dict_of
from .models.encoder import POOLS, Encoder, check_loaded, pool_tokens
from .models.mixmim_vit import MixMIMViT
from .models.stages import HIERARCHICAL_ARCHS
from .models.units import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Statistics,
    as_statistics,
    check_units,
)
from .models.vit import MIMViT
from .models.vit_options import ARCHS
from .paths import read_config, shipped_config, shipped_configs
from .registry import SCOPE

_PLAIN = re.compile(r'mim_vit_([a-z]+)_patch(\d+)')
_HIERARCHICAL = re.compile(r'mim_mixmim_([a-z]+)')


def list_models(pattern: str | None = None) -> list[str]:
    """Names that ``get_model`` takes: encoders, and configs found beside the code.

    ``pattern`` filters as a shell would: ``'*base*'``.
    """
    names = [f'mim_vit_{a}_patch{s.get("patch_size", 16)}' for a, s in ARCHS.items()]
    names += [f'mim_mixmim_{arch}' for arch in HIERARCHICAL_ARCHS]
    names += sorted(path.stem for path in shipped_configs().values())
    return [name for name in names if pattern is None or fnmatch(name, pattern)]


def get_model(
    name: str | Path,
    pretrained: str | Path | None = None,
    trust: bool = False,
    **kwargs: Any,
) -> nn.Module:
    """A model in evaluation mode; its weights are random without ``pretrained``.

    Args:
        name: 'mim_vit_base_patch16' (any patch size), 'mim_mixmim_base', the name of a
            config of ours, or the path of a config.
        pretrained: a file in our names or in those of the official MAE or MixMIM code,
            timm, or mmpretrain. It settles what the name and ``kwargs`` leave open:
            image size, channels, windows, kinds of positions.
        trust: see ``read_checkpoint``.
        kwargs: arguments of the encoder, or values that replace those in the config's
            model.
    """
    found = _named_encoder(str(name), kwargs)
    checkpoint = {} if pretrained is None else read_checkpoint(pretrained, trust)
    state = {} if pretrained is None else _weights(checkpoint)
    model: nn.Module
    if found is None:
        model, prefix = _from_config(name, kwargs), ''
    else:
        kind, options = found
        options = {**_options_of(state, kind, options), **options}
        model, prefix = kind(**options), 'backbone.'
    if pretrained is not None:
        report = load_weights(model, state, prefix=prefix)
        check_loaded(report, pretrained)
        _keep_statistics(model, stored_statistics(pretrained, checkpoint), pretrained)
    return model.eval()


@torch.no_grad()
def extract_features(
    model: nn.Module,
    images: Tensor | np.ndarray | Image.Image | Sequence[np.ndarray | Image.Image],
    pool: str = 'avg',
    mean: float | Sequence[float] | None = None,
    std: float | Sequence[float] | None = None,
    batch_size: int = 64,
) -> Tensor:
    """Features of the encoder's last block, on the CPU, from raw pixels.

    They have the type of the encoder's weights.

    Args:
        model: an encoder, or a model with a ``backbone``.
        images: a tensor (B, C_in, H, W), an array (H, W, C_in) or (B, H, W, C_in), a
            picture of PIL, or arrays or pictures of one size; RGB, 0..255.
        pool: 'avg' or 'cls' for (B, C), 'map' for (B, C, h, w).
        mean, std: a number, or one per channel, in the units of the pixels. Those of
            the model's data preprocessor by default, or of the file that ``get_model``
            took an encoder's weights from, else ImageNet's. ValueError if they cannot
            be the pixels'.
    """
    encoder = getattr(model, 'backbone', model)
    if not isinstance(encoder, Encoder):
        raise ValueError(f'model: {type(model).__name__} is no encoder and has none')
    if pool not in (*POOLS, 'map'):
        raise ValueError(f"pool: got {pool!r}, expected 'avg', 'cls' or 'map'")
    batch = _as_batch(images, encoder.in_channels)
    shift, scale = _statistics(model, encoder, mean, std)
    weight = next(encoder.parameters())
    shift, scale = shift.to(weight.device), scale.to(weight.device)
    was_training, features = encoder.training, []
    encoder.eval()
    try:
        for part in batch.split(batch_size):
            normalized = (part.to(weight.device).float() - shift) / scale
            check_units(
                normalized,
                'pass mean=, std= in the units of the pixels',
                narrow=mean is None and part.is_floating_point(),
            )
            features.append(_features(encoder, normalized.to(weight.dtype), pool))
    finally:
        encoder.train(was_training)
    return torch.cat(features).cpu()


def _weights(checkpoint: dict[str, Any]) -> dict[str, Tensor]:
    """Those of a file, in our names if its own are known."""
    state = state_dict_of(checkpoint)
    return state if guess_format(state) is None else to_ours(state).state


def _options_of(
    state: dict[str, Tensor], kind: type[Encoder], options: dict[str, Any]
) -> dict[str, Any]:
    """Options of the encoder in a file: size, channels, windows, positions, parts.

    A fine-tuned model has its norm after pooling (``fc_norm``), in the head; some have
    no class token. ValueError if ``options`` ask for a part that it lacks.
    """
    if guess_format(state) is None:
        return {}
    heads = ARCHS.get(options['arch'], {}).get('num_heads')
    found = encoder_arguments(state, heads, options.get('img_size'))
    for option, name in (('final_norm', 'norm.weight'), ('class_token', 'cls_token')):
        if options.get(option) and not found.get(option, True):
            raise ValueError(
                f'{option}=True: got a file without backbone.{name}, expected one that '
                f'has it; leave {option} out'
            )
    return {key: found[key] for key in found if key in signature(kind).parameters}


def _named_encoder(
    name: str, options: dict[str, Any]
) -> tuple[type[Encoder], dict[str, Any]] | None:
    """Class and arguments of the encoder of that name, None if it names none."""
    kind: type[Encoder]
    named: dict[str, Any]
    if match := _PLAIN.fullmatch(name):
        kind, named = MIMViT, {'arch': match[1], 'patch_size': int(match[2])}
    elif match := _HIERARCHICAL.fullmatch(name):
        kind, named = MixMIMViT, {'arch': match[1]}
    else:
        return None
    known = [key for key in signature(kind).parameters if key not in named]
    if wrong := [key for key in options if key not in known]:
        raise ValueError(
            f'{name}: got {", ".join(wrong)}, expected options of {kind.__name__} that '
            f'the name does not say: {", ".join(known)}'
        )
    return kind, {**named, **options}


def _from_config(name: str | Path, changes: dict[str, Any]) -> nn.Module:
    """The model of a config."""
    cfg = read_config(_config_path(name))
    if 'model' not in cfg:
        raise ValueError(f'{name}: the config has no model')
    cfg.merge_from_dict({'model': changes})
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', SCOPE)):
        return ROOT.build(cfg.model)


def _features(encoder: Encoder, images: Tensor, pool: str) -> Tensor:
    x = encoder.forward_features(images)
    if pool != 'map':
        return pool_tokens(x, encoder.num_prefix_tokens, pool)
    grid = encoder.grid(images.shape[-2:], encoder.levels[-1][1])
    return x[:, encoder.num_prefix_tokens :].transpose(1, 2).unflatten(2, grid)


def _as_batch(
    images: Tensor | np.ndarray | Image.Image | Sequence[np.ndarray | Image.Image],
    channels: int,
) -> Tensor:
    """Any accepted form to (B, C_in, H, W)."""
    if isinstance(images, Tensor):
        batch = images
    else:
        if isinstance(images, np.ndarray | Image.Image):
            array = np.asarray(images)
        else:
            array = np.stack([np.asarray(image) for image in images])
        array = array[None] if array.ndim == 3 else array
        if array.ndim != 4 or array.shape[-1] != channels:
            raise ValueError(
                f'images: got an array of shape {array.shape}, expected (H, W, '
                f'{channels}) or (B, H, W, {channels}), channels last'
            )
        batch = torch.from_numpy(np.ascontiguousarray(array.transpose(0, 3, 1, 2)))
    if batch.ndim != 4 or batch.shape[1] != channels:
        raise ValueError(
            f'images: got a tensor of shape {tuple(batch.shape)}, expected (B, '
            f'{channels}, H, W), the {channels} being in_channels of the encoder'
        )
    return batch


def _statistics(
    model: nn.Module,
    encoder: Encoder,
    mean: float | Sequence[float] | None,
    std: float | Sequence[float] | None,
) -> tuple[Tensor, Tensor]:
    """Mean and std (C_in | 1, 1, 1): given, the model's, the file's, or ImageNet's."""
    if (mean is None) != (std is None):
        raise ValueError('mean and std: give both or none')
    if mean is not None and std is not None:
        return as_statistics(mean, std, encoder.in_channels)
    shift, scale = encoder.statistics or (IMAGENET_MEAN, IMAGENET_STD)
    own: Any = getattr(model, 'data_preprocessor', None)
    if getattr(own, 'mean', None) is not None:  # mmdet's may have none
        shift, scale = own.mean.tolist(), own.std.tolist()
    return as_statistics(shift, scale, encoder.in_channels)


def _keep_statistics(model: Any, found: Statistics | None, source: str | Path) -> None:
    """The encoder keeps those of a file; ValueError if the model has others."""
    getattr(model, 'backbone', model).statistics = found
    own: Any = getattr(model, 'data_preprocessor', None)
    if found is None or getattr(own, 'mean', None) is None:
        return
    theirs = as_statistics(*found, None)
    if not all(map(torch.allclose, theirs, (own.mean, own.std))):
        raise ValueError(
            f'{source}: got weights trained on pixels of mean {found[0]} and std '
            f"{found[1]}, expected those of the model's data_preprocessor, "
            f'{own.mean.flatten().tolist()} and {own.std.flatten().tolist()}; pass '
            f'data_preprocessor=dict(type={type(own).__name__!r}, mean=..., std=...)'
        )


def _config_path(name: str | Path) -> Path:
    path = Path(name)
    found = path if path.suffix == '.py' and path.is_file() else shipped_config(name)
    if found is None:
        raise ValueError(
            f'{name}: no such model; expected one of list_models(), '
            "'mim_vit_<arch>_patch<size>', 'mim_mixmim_<arch>' or the path of a config"
        )
    return found
