"""Plain ViTs: those of timm, MAE (2111.06377), PixMIM (2303.02416), MFF (2308.00261),
DeepMIM (2303.08817), and the main branch of dBOT (2209.03917).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor

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
    in_blocks,
    square_side,
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
        self, state: Mapping[str, Tensor], num_heads: int | None = None
    ) -> dict[str, Any]:
        """Arguments of ``MIMViT`` for the encoder in ``state`` (positions: a square).

        The number of heads leaves no trace in shapes: widths other than those of the
        known architectures need ``num_heads``, else ValueError.
        """
        kernel = state['backbone.patch_embed.proj.weight']  # (C, C_in, p, p)
        dim, channels, patch = kernel.shape[:3]
        return {
            'arch': _arch(dim, _depth(state), num_heads, state),
            'img_size': self.side(state) * patch,
            'patch_size': patch,
            'in_channels': channels,
            'class_token': 'backbone.cls_token' in state,
            'final_norm': 'backbone.norm.weight' in state,
        }

    def side(self, state: Mapping[str, Tensor]) -> int:
        """Patches along a side of the square that the positions are made for."""
        length = state['backbone.pos_embed'].shape[1] - ('backbone.cls_token' in state)
        return square_side(length, 'backbone.pos_embed')

    def summary(self, state: Mapping[str, Tensor]) -> str:
        """Width, depth, patch, channels."""
        kernel = state['backbone.patch_embed.proj.weight']
        dim, channels, patch = kernel.shape[:3]
        return f'ViT {dim} x {_depth(state)}, patch {patch}, {channels} channels'

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
    known = {arch['embed_dim']: arch['num_heads'] for arch in ARCHS.values()}
    heads = num_heads or known.get(dim)
    if heads is None:
        raise ValueError(
            f'Width {dim} is none of the known ones ({", ".join(map(str, known))}): '
            'say how many attention heads it has (--num-heads).'
        )
    ratio = state['backbone.blocks.0.mlp.fc1.weight'].shape[0] / dim
    spec = {'embed_dim': dim, 'depth': depth, 'num_heads': heads}
    for name, arch in ARCHS.items():
        if ratio == 4 and spec.items() <= arch.items():
            return name
    return spec if ratio == 4 else {**spec, 'mlp_ratio': ratio}
