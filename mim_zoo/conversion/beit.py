"""ViTs with relative positions and layer scale: dBOT's symmetric ones (2209.03917).

Their files are in the format of BEiT (2106.08254). Legend: g patches along a side,
N = g * g + 1 tokens with the class token.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mim_zoo.models.layers import Size
from mim_zoo.models.relative import OF_PREFIX, TABLE, offset_index

from .family import TOKEN, Row, Rows, StateDict, checked_window
from .plain import ENCODER, PlainFamily

_SHARED = 'rel_pos_bias'
_OWN = 'blocks.{}.attn'
_TABLE = re.compile(rf'backbone\.({_SHARED}|blocks\.\d+\.attn)\.{TABLE}')
_BIAS = re.compile(r'backbone\.blocks\.\d+\.attn\.qkv\.bias')


def _same(name: str) -> Row:
    return Row(f'backbone.{name}', name, None, leaves=TOKEN)


_ROWS: Rows = (
    *ENCODER,
    *(_same(f'blocks.{{}}.gamma_{i}') for i in (1, 2)),
    *(
        _same(f'{part}.{what}')
        for part in (_SHARED, _OWN)
        for what in (TABLE, 'relative_position_index')
    ),
    Row('corruption.token', 'mask_token', None, leaves=TOKEN),
    Row('head.decoders.0.pred', 'lm_head', None),
)


class BeitFamily(PlainFamily):
    """Pre-trained with one table of relative positions, fine-tuned with one per block.

    The official attention has no bias of keys.
    """

    title = 'a ViT as BEiT trains it'
    columns = {'ours': 'ours', 'dbot': 'official'}
    signs = {
        'ours': (
            r'backbone\.blocks\.\d+\.norm1\.',
            rf'{_TABLE.pattern}|backbone\.blocks\.\d+\.gamma_1',
        ),
        'dbot': (r'blocks\.\d+\.attn\.q_bias',),
    }
    rows = _ROWS
    essential = rf'{PlainFamily.essential}|(backbone\.)?rel_pos'
    needed = ('backbone.patch_embed.proj.weight',)

    def arguments(
        self,
        state: Mapping[str, Tensor],
        num_heads: int | None = None,
        img_size: int | Sequence[int] | None = None,
    ) -> dict[str, Any]:
        """Arguments of ``MIMViT``; tables of relative positions tell the heads."""
        found: dict[str, Any] = {}
        for name, table in _tables(state):
            num_heads = table.shape[1]
            found['rel_pos'] = 'shared' if _SHARED in name else 'block'
        if 'backbone.blocks.0.gamma_1' in state:
            found['layer_scale'] = 1.0  # any: the values are in the file
        if 'backbone.pos_embed' not in state:
            found['absolute_pos'] = False
        return {**super().arguments(state, num_heads, img_size), **found}

    def grid(self, state: Mapping[str, Tensor], wanted: Size | None = None) -> Size:
        """(g, g), by absolute positions or a table of relative ones."""
        if 'backbone.pos_embed' in state:
            return super().grid(state, wanted)
        for name, table in _tables(state):
            return (_side(table, name, _prefix(state)),) * 2
        raise ValueError(
            f'Not {self.title}: expected positions, either backbone.pos_embed or '
            'tables of relative ones (our names)'
        )

    def summary(self, state: Mapping[str, Tensor]) -> str:
        """Width, depth, patch, channels, positions."""
        relative = ', relative positions' if any(_tables(state)) else ''
        return super().summary(state) + relative

    def derive(self, state: Mapping[str, Tensor]) -> StateDict:
        """Of every table, the row of each query and key: (N, N), int64."""
        prefix, found = _prefix(state), {}
        for name, table in _tables(state):
            grid = (_side(table, name, prefix),) * 2
            index = offset_index(grid, prefix, torch.device('cpu'))
            found[name.replace('bias_table', 'index')] = index
        return found

    def unpack(self, form: str, state: Mapping[str, Tensor]) -> StateDict:
        """Biases of queries, keys and values in one; those of keys are zero."""
        state = {**state}
        for name in [name for name in state if name.endswith('.attn.q_bias')]:
            block = name.removesuffix('q_bias')
            if f'{block}v_bias' in state:
                q, v = state.pop(name), state.pop(f'{block}v_bias')
                state[f'{block}qkv.bias'] = torch.cat([q, torch.zeros_like(q), v])
        return state

    def pack(self, form: str, state: Mapping[str, Tensor]) -> StateDict:
        """The inverse, without the biases of keys.

        Any are the same to attention: they add the same number to all scores of a
        query, which softmax takes out again.
        """
        state = {**state}
        for name in [name for name in state if name.endswith('.attn.qkv.bias')]:
            block = name.removesuffix('qkv.bias')
            q, _, v = state.pop(name).chunk(3)
            # copies: safetensors takes no shared memory
            state |= {f'{block}q_bias': q.clone(), f'{block}v_bias': v.clone()}
        return state

    def idle(self, form: str, state: Mapping[str, Tensor]) -> list[str]:
        """Biases of keys that are not zero."""
        biases = {name: x for name, x in state.items() if _BIAS.fullmatch(name)}
        return [name for name, x in biases.items() if x.chunk(3)[1].any()]


BEIT = BeitFamily()


def _tables(state: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    return ((name, x) for name, x in state.items() if _TABLE.fullmatch(name))


def _prefix(state: Mapping[str, Tensor]) -> int:
    """Prefix tokens: rows of tables are theirs, too."""
    return int('backbone.cls_token' in state)


def _side(table: Tensor, name: str, prefix: int) -> int:
    return checked_window(table, name, OF_PREFIX * prefix)
