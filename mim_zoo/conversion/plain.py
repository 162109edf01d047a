"""Plain ViTs: those of timm, MAE (2111.06377), PixMIM (2303.02416), MFF (2308.00261),
DeepMIM (2303.08817), and the main branch of dBOT (2209.03917).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from mim_zoo.models.layers import Size
from mim_zoo.models.vit import MIMViT
from mim_zoo.models.vit_options import ARCHS

from .family import (
    DECODER,
    STATISTICS,
    TOKEN,
    Family,
    Row,
    Rows,
    StateDict,
    grid_in_file,
    grid_of,
    image_size,
    in_blocks,
)

ENCODER: Rows = (
    Row('backbone.cls_token', 'cls_token', 'backbone.cls_token', 'cls_token', TOKEN),
    Row('backbone.pos_embed', 'pos_embed', 'backbone.pos_embed', 'pos_embed', TOKEN),
    Row(
        'backbone.patch_embed.proj',
        'patch_embed.proj',
        'backbone.patch_embed.projection',
        'patch_embed.proj',
    ),
    *in_blocks('backbone.blocks.{}', 'blocks.{}', 'backbone.layers.{}', 'blocks.{}'),
    Row('backbone.norm', 'norm', 'backbone.ln1', 'norm'),
)
_FUSION: Rows = (  # MFF, whose official code is OpenMMLab's
    Row('neck.fusions.0.proj_layers.{}', None, 'backbone.proj_layers.{}'),
    Row('neck.fusions.0.proj_weights', None, 'backbone.proj_weights', leaves=TOKEN),
)
MAX_DECODERS = 9  # of DeepMIM, in the tables


def _numbered(row: Row, index: int) -> Row:
    """A weight of DeepMIM's decoder ``index``, whose official code counts from 1.

    The first one is what other formats call the decoder, they have no others.
    """
    name = re.sub(r'\w+', rf'\g<0>{index + 1}', row.official or '', count=1)
    others = {'deepmim': name}
    if index == 0:
        return replace(row, others={**row.others, **others})
    ours = row.ours.replace('decoders.0', f'decoders.{index}')
    return Row(ours, None, None, leaves=row.leaves, others=others)


_DECODERS = tuple(_numbered(row, i) for i in range(MAX_DECODERS) for row in DECODER)
# DeepMIM: the positions that its decoders share, and one for each as in the table
_SHARED_POS = 'decoder_pos_embed'
_POS = re.compile(rf'{_SHARED_POS}\d+')
# Of ours alone: decomposed relative positions (ViTDet, 2203.16527)
_OFFSETS = re.compile(r'backbone\.blocks\.(\d+)\.attn\.rel_pos_[hw]')
_NUMBER = re.compile(r'(?:mask_token|decoder_(?:embed|blocks|norm|pred))(\d+)(?:\.|$)')
# Three kinds of classifier: fine-tuned on the mean of the patches (with fc_norm),
# linear probe (with bn), class token.
_FINE_TUNED: Rows = (
    Row('fc_norm', 'fc_norm', 'backbone.ln2', 'fc_norm'),
    Row('head', 'head', 'head.fc', 'head'),
)
_PROBE: Rows = (
    Row('bn', 'head.0', 'neck.bn', leaves=STATISTICS),
    Row('head', 'head.1', 'head.layers.head', 'head'),
)
_CLASS_TOKEN: Rows = (Row('head', 'head', 'head.layers.head', 'head'),)


class PlainFamily(Family):
    """Encoders and fine-tuned models of ``mae`` and ``timm`` have the same names.

    Those of DeepMIM and dBOT, too. They are called ``timm`` here.
    """

    title = 'a plain ViT as MAE trains it'
    encoder = MIMViT
    columns = {
        'ours': 'ours',
        'mae': 'official',
        'deepmim': 'official',
        'dbot': 'official',
        'timm': 'timm',
        'mmpretrain': 'mmpretrain',
    }
    signs = {
        'ours': (r'backbone\.blocks\.\d+\.norm1\.',),
        'mmpretrain': (r'(backbone\.)?layers\.\d+\.(ln1|attn\.qkv)\.',),
        'deepmim': (r'decoder_blocks\d+\.\d+\.norm1\.',),
        'dbot': (r'decoder_predp\.',),
        'mae': (r'decoder_blocks\.\d+\.norm1\.|head\.1\.',),
        'timm': (r'blocks\.\d+\.norm1\.',),
    }
    rows = ENCODER + _FUSION + _DECODERS
    heads = (
        ('fc_norm.weight', _FINE_TUNED),
        ('bn.running_mean', _PROBE),
        (None, _CLASS_TOKEN),
    )
    essential = (
        r'(backbone\.)?(blocks|layers|patch_embed|cls|dist|reg|pos|norm_pre|pre_norm)'
    )
    needed: ClassVar[tuple[str, ...]] = (
        'backbone.patch_embed.proj.weight',
        'backbone.pos_embed',
    )

    def arguments(
        self,
        state: Mapping[str, Tensor],
        num_heads: int | None = None,
        img_size: int | Sequence[int] | None = None,
    ) -> dict[str, Any]:
        """Arguments of ``MIMViT`` for the encoder in ``state``.

        The number of heads leaves no trace in shapes but those of decomposed relative
        positions: encoders other than the known architectures need ``num_heads``, else
        ValueError.
        """
        kernel = state['backbone.patch_embed.proj.weight']  # (C, C_in, p, p)
        dim, channels, patch = kernel.shape[:3]
        grid = self.grid(state, grid_of(img_size, patch))
        depth, tables = _depth(state), _offsets(state)
        for table, *_ in tables.values():
            num_heads = dim // table.shape[1]
        return {
            'arch': _arch(dim, depth, num_heads, state),
            'img_size': image_size(grid, patch),
            'patch_size': patch,
            'in_channels': channels,
            'class_token': 'backbone.cls_token' in state,
            'final_norm': 'backbone.norm.weight' in state,
            **(_windows(tables, depth, grid) if tables else {}),
        }

    def grid(self, state: Mapping[str, Tensor], wanted: Size | None = None) -> Size:
        """Patches down and across that the positions are made for."""
        name = 'backbone.pos_embed'
        if name not in state:
            raise ValueError(
                f'{name}: got none, expected positions, which tell the size of images; '
                'build the encoder with its img_size, and load what '
                'mim_zoo.conversion.convert returns'
            )
        prefix = int('backbone.cls_token' in state)
        return grid_in_file(state[name][:, prefix:], name, wanted)

    def summary(self, state: Mapping[str, Tensor]) -> str:
        """Width, depth, patch, channels."""
        kernel = state['backbone.patch_embed.proj.weight']
        dim, channels, patch = kernel.shape[:3]
        positions = ', decomposed relative positions' if _offsets(state) else ''
        size = f'ViT {dim} x {_depth(state)}, patch {patch}, {channels} channels'
        return size + positions

    def unpack(self, form: str, state: Mapping[str, Tensor]) -> StateDict:
        """The decoders of DeepMIM share their positions."""
        if form != 'deepmim':
            return {**state}
        numbers = {int(match[1]) for name in state if (match := _NUMBER.match(name))}
        if sorted(numbers) != list(range(1, min(len(numbers), MAX_DECODERS) + 1)):
            raise ValueError(
                f'Not DeepMIM: got decoders with the numbers {sorted(numbers)}, '
                f'expected 1, 2, ... without a gap, at most {MAX_DECODERS}'
            )
        state = {**state}
        if (table := state.pop(_SHARED_POS, None)) is not None:
            # copies: safetensors takes no shared memory
            state.update({f'{_SHARED_POS}{k}': table.clone() for k in numbers})
        return state

    def pack(self, form: str, state: Mapping[str, Tensor]) -> StateDict:
        """The inverse; ValueError if the positions differ."""
        tables = [table for name, table in state.items() if _POS.fullmatch(name)]
        if form != 'deepmim' or not tables:
            return {**state}
        if not all(torch.equal(table, tables[0]) for table in tables):
            raise ValueError(
                'head.decoders.*.pos_embed: got decoders with different positions, '
                'expected equal ones, as deepmim has one table for all; convert the '
                'encoder alone (--backbone-only)'
            )
        rest = {name: x for name, x in state.items() if not _POS.fullmatch(name)}
        return {**rest, _SHARED_POS: tables[0]}


PLAIN = PlainFamily()


def _depth(state: Mapping[str, Tensor]) -> int:
    blocks = [re.match(r'backbone\.blocks\.(\d+)\.', name) for name in state]
    return 1 + max(int(match[1]) for match in blocks if match)


def _arch(
    dim: int, depth: int, num_heads: int | None, state: Mapping[str, Tensor]
) -> str | dict[str, Any]:
    """The name of a known architecture, or what it is made of."""
    size = {'embed_dim': dim, 'depth': depth}
    ratio = state['backbone.blocks.0.mlp.fc1.weight'].shape[0] / dim
    for name, arch in ARCHS.items():
        known = ratio == 4 and size.items() <= arch.items()
        if known and num_heads in (None, 0, arch['num_heads']):
            return name
    if not num_heads:
        raise ValueError(
            f'Width {dim}, depth {depth} and MLP ratio {ratio:g} are together none of '
            f'the known architectures ({", ".join(ARCHS)}): say how many attention '
            'heads it has (--num-heads).'
        )
    spec = {**size, 'num_heads': num_heads}
    return spec if ratio == 4 else {**spec, 'mlp_ratio': ratio}


def _offsets(state: Mapping[str, Tensor]) -> dict[int, list[Tensor]]:
    """By block, the tables of offsets of rows and columns, (2 w - 1, C / heads)."""
    found: dict[int, list[Tensor]] = {}
    for name, table in state.items():
        if match := _OFFSETS.fullmatch(name):
            found.setdefault(int(match[1]), []).append(table)
    return found


def _windows(tables: Mapping[int, list[Tensor]], depth: int, grid: Size) -> dict:
    """Arguments of decomposed relative positions on a grid."""
    side = grid[0] if grid[0] == grid[1] else 0  # of whole grids, only square ones
    sides = {i: {(len(table) + 1) // 2 for table in tables[i]} for i in sorted(tables)}
    local = set().union(*sides.values()) - {side}
    if len(sides) != depth or len(local) > 1 or any(len(s) > 1 for s in sides.values()):
        raise ValueError(
            f'rel_pos_h and rel_pos_w of {len(sides)} blocks: got windows of '
            f'{sorted(set().union(*sides.values()))} tokens, expected in each of '
            f'{depth} blocks square ones of one size, or the whole grid of {grid[0]} x '
            f'{grid[1]}. For others, build the encoder with its window and img_size, '
            'and load what mim_zoo.conversion.convert returns'
        )
    if not local:
        return {'rel_pos': 'decomposed'}
    whole = tuple(i for i in sides if side in sides[i])
    return {'rel_pos': 'decomposed', 'window': local.pop(), 'global_blocks': whole}
