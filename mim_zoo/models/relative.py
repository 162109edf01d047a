"""Relative position bias: of windows, and of a whole grid with prefix tokens.

The latter as in BEiT (2106.08254).

Legend: a grid (h, w) of L patches, P prefix tokens (0 or 1), N = P + L. A table has
(2 h - 1) (2 w - 1) rows, one per offset, and three more with a prefix token: of the
prefix looking at a patch, of a patch looking at the prefix, of the prefix at itself.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .layers import Attention, Size, pair

TABLE = 'relative_position_bias_table'
INDEX = 'relative_position_index'  # in files of others; here it is derived
OF_PREFIX = 3  # rows


def rows_of(grid: Size, prefix_tokens: int) -> int:
    """Rows of a table."""
    return (2 * grid[0] - 1) * (2 * grid[1] - 1) + OF_PREFIX * prefix_tokens


def relative_index(window: Size, table: int | Size, device: torch.device) -> Tensor:
    """Rows of a bias table made for windows of size ``table``, (N * N,).

    For query i and key j of a window (wh, ww) no larger than that (th, tw): the row of
    their offset, (dy + th - 1) * (2 tw - 1) + dx + tw - 1.
    """
    th, tw = pair(table)
    y = torch.arange(window[0], device=device).repeat_interleave(window[1])
    x = torch.arange(window[1], device=device).repeat(window[0])
    dy, dx = y[:, None] - y + th - 1, x[:, None] - x + tw - 1
    return (dy * (2 * tw - 1) + dx).flatten()


def offset_index(grid: Size, prefix_tokens: int, device: torch.device) -> Tensor:
    """The row of a grid's own table for query i and key j, (N, N)."""
    L, rows = grid[0] * grid[1], rows_of(grid, prefix_tokens)
    index = relative_index(grid, grid, device).view(L, L)
    if not prefix_tokens:
        return index
    index = F.pad(index, (1, 0), value=rows - 2)  # a patch looks at the prefix
    first = F.pad(index.new_full((1, L), rows - 3), (1, 0), value=rows - 1)
    return torch.cat([first, index])


def resample_table(table: Tensor, old: Size, new: Size) -> Tensor:
    """A table (rows, heads) of one grid for another, bicubic; prefix rows stay."""
    if old == new:
        return table
    sides, offsets = (2 * old[0] - 1, 2 * old[1] - 1), rows_of(old, 0)
    maps = table[:offsets].float().t().reshape(1, -1, *sides)
    size = (2 * new[0] - 1, 2 * new[1] - 1)
    maps = F.interpolate(maps, size=size, mode='bicubic', align_corners=False)
    return torch.cat([maps.flatten(2)[0].t().to(table.dtype), table[offsets:]])


def table_from_file(table: Tensor, grid: Size, prefix_tokens: int, name: str) -> Tensor:
    """A stored table made to fit a grid and its prefix tokens.

    Grids in files are taken to be square unless the rows agree. Rows of a prefix token
    are dropped, or added as zeros (what they start from).
    """
    stored = 1 - len(table) % 2  # offsets are odd in number, with three more even
    offsets = len(table) - OF_PREFIX * stored
    w = math.isqrt(max(offsets, 0)) // 2 + 1
    old = grid if offsets == rows_of(grid, 0) else (w, w)
    if offsets != rows_of(old, 0):
        raise ValueError(
            f'{name}: cannot tell the grid of a table of {len(table)} rows, expected '
            f'{rows_of(grid, prefix_tokens)} or those of a square grid; build the '
            'encoder with the img_size and patch_size of the file'
        )
    table = resample_table(table, old, grid)
    return F.pad(table, (0, 0, 0, OF_PREFIX * (prefix_tokens - stored)))


def bias_from_table(table: Tensor, old: Size, new: Size, prefix_tokens: int) -> Tensor:
    """The bias of a grid, (1, heads, N, N), from the table of any grid."""
    index = offset_index(new, prefix_tokens, table.device)
    bias = F.embedding(index, resample_table(table, old, new))  # (N, N, heads)
    return bias.permute(2, 0, 1)[None]


def join(bias: Tensor, allowed: Tensor | None) -> Tensor:
    """A bias (1, heads, N, N), -inf where a token may not look (B | 1, 1, N, N)."""
    return bias if allowed is None else bias.masked_fill(~allowed, float('-inf'))


class Tabled(nn.Module):
    """Something with a table of biases, which starts at zero."""

    def make_table(self, grid: Size, num_heads: int, prefix_tokens: int) -> None:
        """For images of this grid; other grids resample it, those of files too."""
        self.table_grid = grid
        self.table_prefix = prefix_tokens
        self.relative_position_bias_table = nn.Parameter(
            torch.zeros(rows_of(grid, prefix_tokens), num_heads)
        )

    def reset_parameters(self) -> None:
        """No bias; linear layers are the encoder's affair."""
        nn.init.zeros_(self.relative_position_bias_table)

    def bias(self, grid: Size) -> Tensor:
        """Of a grid, (1, heads, N, N)."""
        table = self.relative_position_bias_table
        return bias_from_table(table, self.table_grid, grid, self.table_prefix)

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        state_dict.pop(prefix + INDEX, None)  # derived
        name = prefix + TABLE
        if name in state_dict:
            state_dict[name] = table_from_file(
                state_dict[name], self.table_grid, self.table_prefix, name
            )
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


class RelativePosition(Tabled):
    """One table for all blocks."""

    def __init__(self, grid: Size, num_heads: int, prefix_tokens: int):
        super().__init__()
        self.make_table(grid, num_heads, prefix_tokens)


class RelativeAttention(Tabled, Attention):
    """Multi-head self-attention with a table of its own, (B, N, C) -> (B, N, C)."""

    def __init__(self, dim: int, num_heads: int, grid: Size, prefix_tokens: int):
        super().__init__(dim, num_heads)
        self.make_table(grid, num_heads, prefix_tokens)

    def forward(  # type: ignore[override]
        self, x: Tensor, allowed: Tensor | None, grid: Size
    ) -> Tensor:
        """Tokens of a grid, which may look where ``allowed``."""
        return super().forward(x, join(self.bias(grid), allowed))


def has_tables(state_dict: Mapping[str, Any], prefix: str) -> bool:
    """Whether a file has relative positions of an encoder, of all blocks or of each."""
    places = f'{prefix}rel_pos_bias.', f'{prefix}blocks.'
    return any(k.startswith(places) and k.endswith(f'.{TABLE}') for k in state_dict)


def share_with_blocks(state_dict: dict[str, Any], prefix: str, depth: int) -> None:
    """A table for all blocks becomes one in each, as BEiT's fine-tuning does."""
    table = state_dict.pop(f'{prefix}rel_pos_bias.{TABLE}', None)
    state_dict.pop(f'{prefix}rel_pos_bias.{INDEX}', None)
    if table is not None:
        for i in range(depth):
            name = f'{prefix}blocks.{i}.attn.{TABLE}'
            state_dict.setdefault(name, table.clone())
