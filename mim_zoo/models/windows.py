"""Attention inside the windows of a grid, with relative position bias.

Legend: B images, L = h * w tokens, nW windows of N tokens, C channels. A grid that is
no multiple of the window ends in smaller windows: the same numbers as padding it and
masking what was padded, at no cost.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .biased_attention import biased_attention
from .layers import Size, pair
from .relative import INDEX, TABLE, relative_index, resample_table


@dataclass(frozen=True)
class Region:
    """A part of the grid that is cut into windows of one size.

    rows, columns: where it is; window: (wh, ww); penalty (1 | B, nW, 1, N, N): -inf
    where a token may not look, or None; index (N * N,) into a bias table, if there is.
    """

    rows: slice
    columns: slice
    window: Size
    penalty: Tensor | None
    index: Tensor | None = None

    @property
    def windows(self) -> Size:
        """Windows below and beside each other."""
        (wh, ww), rows, columns = self.window, self.rows, self.columns
        return (rows.stop - rows.start) // wh, (columns.stop - columns.start) // ww


def spans(length: int, window: int) -> list[tuple[slice, int]]:
    """Parts of an axis and their window: the whole windows, then what is left."""
    whole = length // window * window
    parts = [(slice(0, whole), window), (slice(whole, length), length - whole)]
    return [(part, size) for part, size in parts if part.stop > part.start]


def group_penalty(
    groups: Tensor, region_of: tuple[slice, slice], window: Size
) -> Tensor:
    """0 within, -inf between equal labels (1 | B, h, w): (1 | B, nW, 1, N, N)."""
    labels = groups[:, region_of[0], region_of[1]]
    B, h, w = labels.shape
    wh, ww = window
    labels = labels.reshape(B, h // wh, wh, w // ww, ww).transpose(2, 3)
    labels = labels.reshape(B, -1, 1, wh * ww)
    other = labels[..., :, None] != labels[..., None, :]
    return torch.zeros(other.shape, device=other.device).masked_fill(
        other, float('-inf')
    )


def cut(
    grid: Size,
    window: int,
    groups: Tensor | None,
    device: torch.device,
    table: int | None = None,
) -> list[list[Region]]:
    """The regions of a grid, row by row; groups (1 | B, L) label its tokens.

    Made once for all blocks of a stage; up to two by two, one if the window divides the
    grid. A window larger than the grid becomes the grid. ``table``: the window that
    bias tables are for.
    """
    labels = None if groups is None else groups.view(-1, *grid)
    regions = []
    for rows, wh in spans(grid[0], window):
        row = []
        for columns, ww in spans(grid[1], window):
            size = (wh, ww)
            penalty, index = None, None
            if labels is not None:
                penalty = group_penalty(labels, (rows, columns), size)
            if table is not None:
                index = relative_index(size, table, device)
            row.append(Region(rows, columns, size, penalty, index))
        regions.append(row)
    return regions


def uncut(grid: Size, groups: Tensor | None) -> list[list[Region]]:
    """The whole grid as its one region."""
    rows, columns = slice(0, grid[0]), slice(0, grid[1])
    if groups is None:
        return [[Region(rows, columns, grid, None)]]
    labels = groups.view(-1, *grid)
    return [[Region(rows, columns, grid, group_penalty(labels, (rows, columns), grid))]]


def to_windows(x: Tensor, region: Region) -> Tensor:
    """The windows of a region: (B, h, w, C) to (B, nW, N, C)."""
    (nh, nw), (wh, ww), (B, _, _, C) = region.windows, region.window, x.shape
    x = x[:, region.rows, region.columns].reshape(B, nh, wh, nw, ww, C)
    return x.transpose(2, 3).reshape(B, nh * nw, wh * ww, C)


def from_windows(x: Tensor, region: Region) -> Tensor:
    """Windows (B, nW, N, C) to the region they were cut from, (B, rows, columns, C)."""
    (nh, nw), (wh, ww), (B, _, _, C) = region.windows, region.window, x.shape
    x = x.reshape(B, nh, nw, wh, ww, C).transpose(2, 3)
    return x.reshape(B, nh * wh, nw * ww, C)


def by_region(
    x: Tensor,
    grid: Size,
    regions: Sequence[Sequence[Region]],
    attend: Callable[[Tensor, Region], Tensor],
) -> Tensor:
    """``attend``, of windows (B, nW, N, C), on every region of tokens (B, L, C)."""
    x = x.unflatten(1, grid)  # (B, h, w, C)
    rows = [
        joined([from_windows(attend(to_windows(x, r), r), r) for r in row], dim=2)
        for row in regions
    ]
    return joined(rows, dim=1).flatten(1, 2)


def window_of(table: Tensor) -> int:
    """w of a bias table ((2 w - 1)^2, heads)."""
    return (math.isqrt(len(table)) + 1) // 2


def resample_bias(table: Tensor, side: int) -> Tensor:
    """A bias table ((2 w - 1)^2, heads) for another window: (side^2, heads)."""
    return resample_table(table, pair(window_of(table)), pair((side + 1) // 2))


def joined(parts: list[Tensor], dim: int) -> Tensor:
    """Parts side by side; a single one is not copied."""
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim)


class WindowAttention(nn.Module):
    """Multi-head self-attention within windows, (B, L, C) -> (B, L, C).

    Parameter names are those of Swin (2103.14030) and MixMIM (2205.13137). Weights made
    for another window are resampled on load.
    """

    def __init__(self, dim: int, num_heads: int, window: int):
        super().__init__()
        if dim % num_heads:
            raise ValueError(
                f'width {dim} cannot be split over {num_heads} attention heads'
            )
        self.num_heads = num_heads
        self.side = 2 * window - 1
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.relative_position_bias_table = nn.Parameter(
            torch.empty(self.side**2, num_heads)
        )

    def reset_parameters(self) -> None:
        """Random biases, truncated normal of 0.02."""
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)

    def forward(
        self, x: Tensor, grid: Size, regions: Sequence[Sequence[Region]]
    ) -> Tensor:
        """Tokens (B, L, C) of a grid that ``cut`` made the regions of."""
        return by_region(x, grid, regions, self.attend)

    def attend(self, x: Tensor, region: Region) -> Tensor:
        """Windows (B, nW, N, C), cut before the projection: a third of the copying."""
        qkv = self.qkv(x).unflatten(-1, (3, self.num_heads, -1))
        bias = self.bias(region).to(qkv.dtype)  # (1 | B, nW | 1, heads, N, N)
        return self.proj(biased_attention(qkv, bias).flatten(3))

    def bias(self, region: Region) -> Tensor:
        """Of relative positions and groups, broadcast over the batch if those are."""
        N = region.window[0] * region.window[1]
        assert region.index is not None  # cut(..., table=...)
        bias = self.relative_position_bias_table.index_select(0, region.index)
        bias = bias.t().reshape(1, 1, -1, N, N)
        return bias if region.penalty is None else bias + region.penalty

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        state_dict.pop(prefix + INDEX, None)  # derived
        key = prefix + TABLE
        if key in state_dict:
            state_dict[key] = resample_bias(state_dict[key], self.side)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
