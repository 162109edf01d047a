"""The hierarchical encoders of MixMIM (2205.13137).

Legend: d channels before and 4 d after four neighbours are put together, w tokens along
a window, N = w * w.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mim_zoo.models.mixmim_vit import MixMIMViT
from mim_zoo.models.stages import DEFAULTS, HIERARCHICAL_ARCHS
from mim_zoo.models.windows import relative_index

from .family import (
    DECODER,
    STATISTICS,
    TOKEN,
    Family,
    Row,
    Rows,
    StateDict,
    checked_window,
    grid_in_file,
    grid_of,
    image_size,
    in_blocks,
)

_BLOCK = 'layers.{}.blocks.{}'
_TABLE = re.compile(
    r'backbone\.layers\.(\d+)\.blocks\.(\d+)\.attn\.relative_position_bias_table'
)


def _same(name: str, leaves: tuple[str, ...]) -> Row:
    """What all formats call alike."""
    return Row(f'backbone.{name}', name, f'backbone.{name}', leaves=leaves)


_ENCODER: Rows = (
    _same('absolute_pos_embed', TOKEN),
    Row(
        'backbone.patch_embed.proj',
        'patch_embed.proj',
        'backbone.patch_embed.projection',
    ),
    _same('patch_embed.norm', ('.weight', '.bias')),
    *in_blocks(f'backbone.{_BLOCK}', _BLOCK, f'backbone.{_BLOCK}'),
    _same(f'{_BLOCK}.attn.relative_position_bias_table', TOKEN),
    _same(f'{_BLOCK}.attn.relative_position_index', TOKEN),
    _same('layers.{}.downsample.norm', ('.weight', '.bias')),
    _same('layers.{}.downsample.reduction', ('.weight',)),
    _same('norm', ('.weight', '.bias')),
)
_CLASSIFIER: Rows = (
    Row('bn', None, 'neck.bn', leaves=STATISTICS),
    Row('head', 'head', 'head.fc'),
)


def to_unfold_order(x: Tensor) -> Tensor:
    """Weights on merged patches, for the order of ``F.unfold``; (..., 4 d) alike.

    Ours is timm's and the official one: the four neighbours column by column, the
    channels of each together (column, row, d); there it is (d, row, column).
    """
    return x.unflatten(-1, (2, 2, -1)).transpose(-3, -1).flatten(-3)


def from_unfold_order(x: Tensor) -> Tensor:
    """The inverse of ``to_unfold_order``, (..., 4 d) alike."""
    return x.unflatten(-1, (-1, 2, 2)).transpose(-3, -1).flatten(-3)


class MixMIMFamily(Family):
    """``mixmim`` is the official code; mmpretrain merges patches in another order."""

    title = 'a MixMIM encoder'
    encoder = MixMIMViT
    columns = {'ours': 'ours', 'mixmim': 'official', 'mmpretrain': 'mmpretrain'}
    signs = {
        'ours': (r'backbone\.layers\.\d+\.blocks\.\d+\.norm1\.',),
        'mmpretrain': (r'(backbone\.)?layers\.\d+\.blocks\.\d+\.ln1\.',),
        # Swin's have no such positions
        'mixmim': (r'layers\.\d+\.blocks\.\d+\.norm1\.', 'absolute_pos_embed'),
    }
    rows = _ENCODER + DECODER
    heads = ((None, _CLASSIFIER),)
    # of group embeddings, which no other format has, see _NEEDED_BY in names.py
    essential = (
        r'(backbone\.)?(layers\.\d+\.(?!group_embed)|patch_embed|absolute_pos|cls|pos)'
    )
    needed = (
        'backbone.patch_embed.proj.weight',
        'backbone.absolute_pos_embed',
        'backbone.layers.0.blocks.0.attn.relative_position_bias_table',
    )

    def arguments(
        self,
        state: Mapping[str, Tensor],
        num_heads: int | None = None,
        img_size: int | Sequence[int] | None = None,
    ) -> dict[str, Any]:
        """Arguments of ``MixMIMViT`` for the encoder in ``state``.

        All of it is in the shapes, heads and windows in those of the bias tables.
        """
        kernel = state['backbone.patch_embed.proj.weight']  # (C, C_in, p, p)
        dim, channels, patch = kernel.shape[:3]
        name = 'backbone.absolute_pos_embed'
        grid = grid_in_file(state[name], name, grid_of(img_size, patch))
        stages = _stages(state)
        hidden = state['backbone.layers.0.blocks.0.mlp.fc1.weight'].shape[0]
        spec = {
            'embed_dim': dim,
            'depths': tuple(depth for depth, _, _ in stages),
            'num_heads': tuple(heads for _, heads, _ in stages),
            'patch_size': patch,
            'mlp_ratio': hidden / dim,
        }
        groups = 'backbone.layers.0.group_embed' in state
        return {
            'arch': _arch(spec),
            'img_size': image_size(grid, patch),
            'in_channels': channels,
            'windows': tuple(window for _, _, window in stages),
            'final_norm': 'backbone.norm.weight' in state,
            **({'group_mode': 'embedding'} if groups else {}),
        }

    def summary(self, state: Mapping[str, Tensor]) -> str:
        """Width, depths, windows, patch, channels."""
        kernel = state['backbone.patch_embed.proj.weight']
        dim, channels, patch = kernel.shape[:3]
        depths, _, windows = zip(*_stages(state))
        return (
            f'MixMIM encoder {dim} x {"-".join(map(str, depths))}, windows '
            f'{"-".join(map(str, windows))}, patch {patch}, {channels} channels'
        )

    def derive(self, state: Mapping[str, Tensor]) -> StateDict:
        """Of every bias table, the row of each query and key: (N, N), int64."""
        made: dict[int, Tensor] = {}
        found = {}
        for name, table in state.items():
            if _TABLE.fullmatch(name):
                w = checked_window(table, name)
                if w not in made:
                    made[w] = relative_index((w, w), w, torch.device('cpu'))
                # a copy: safetensors takes no shared memory
                index = made[w].reshape(w * w, w * w).clone()
                found[name.replace('bias_table', 'index')] = index
        return found

    def unpack(self, form: str, state: Mapping[str, Tensor]) -> StateDict:
        """mmpretrain merges patches by ``F.unfold``."""
        return _merging(state, from_unfold_order) if form == 'mmpretrain' else {**state}

    def pack(self, form: str, state: Mapping[str, Tensor]) -> StateDict:
        """The inverse."""
        return _merging(state, to_unfold_order) if form == 'mmpretrain' else {**state}


MIXMIM = MixMIMFamily()


def _merging(
    state: Mapping[str, Tensor], reorder: Callable[[Tensor], Tensor]
) -> StateDict:
    return {k: reorder(v) if '.downsample.' in k else v for k, v in state.items()}


def _stages(state: Mapping[str, Tensor]) -> list[tuple[int, int, int]]:
    """Blocks, heads and window of every stage."""
    tables = [(match, name) for name in state if (match := _TABLE.fullmatch(name))]
    depths: dict[int, int] = {}
    shapes: dict[int, tuple[int, int]] = {}
    for match, name in tables:
        stage = int(match[1])
        depths[stage] = max(depths.get(stage, 0), int(match[2]) + 1)
        shapes[stage] = state[name].shape[1], checked_window(state[name], name)
    return [(depths[stage], *shapes[stage]) for stage in sorted(depths)]


def _arch(spec: dict[str, Any]) -> str | dict[str, Any]:
    """The name of a known architecture, or what sets it apart from the defaults."""
    for name, arch in HIERARCHICAL_ARCHS.items():
        if spec.items() <= {**DEFAULTS, **arch}.items():
            return name
    return {k: v for k, v in spec.items() if DEFAULTS.get(k) != v}
