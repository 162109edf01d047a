"""Attention of a plain ViT on images of high resolution, as in ViTDet (2203.16527).

Tokens look within windows, in some blocks at the whole image, which is one window.
Relative position is decomposed (MViTv2, 2112.01526): a query's product with a learned
vector per offset of rows, plus that with one per offset of columns.

Legend: B images, W windows of N = h * w tokens, H heads of D channels.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .layers import Attention, Size
from .windows import Region, by_region

TABLES = ('rel_pos_h', 'rel_pos_w')


def resample_offsets(table: Tensor, rows: int) -> Tensor:
    """A table (2 s - 1, D) of offsets -s + 1 .. s - 1 for another s, linear."""
    if len(table) == rows:
        return table
    columns = table.float().t()[None]
    return F.interpolate(columns, size=rows, mode='linear')[0].t().to(table.dtype)


def offsets_of(table: Tensor, length: int) -> Tensor:
    """What query i holds against key j of an axis: (length, length, D).

    Of a table for longer axes the middle is used; one for shorter axes is stretched.
    """
    rows = max(len(table), 2 * length - 1)
    table = resample_offsets(table, rows)
    place = torch.arange(length, device=table.device)
    return table[place[:, None] - place + rows // 2]


def join_offsets(
    q: Tensor, k: Tensor, tables: Sequence[Tensor], window: Size
) -> tuple[Tensor, Tensor]:
    """q and k (..., N, D), widened so that their product holds the relative positions.

    q gets its products with the offsets of each row and of each column, k a one where
    it stands: (..., N, D + h + w), rounded up to whole eights as kernels want it. The
    N x N products with offsets never exist. Divide what is scaled in q before.
    """
    h, w = window
    grid = q.unflatten(-2, window)  # (..., h, w, D)
    rows, columns = (offsets_of(t, n).to(q.dtype) for t, n in zip(tables, window))
    by_row = torch.einsum('...yxd,ykd->...yxk', grid, rows).flatten(-3, -2)
    by_column = torch.einsum('...yxd,xkd->...yxk', grid, columns).flatten(-3, -2)
    at_row = torch.eye(h, device=q.device, dtype=q.dtype).repeat_interleave(w, dim=0)
    at_column = torch.eye(w, device=q.device, dtype=q.dtype).repeat(h, 1)
    rest = -(q.shape[-1] + h + w) % 8
    at = F.pad(torch.cat([at_row, at_column], dim=1), (0, rest))
    scale = q.shape[-1] ** 0.5  # relative positions are added to scaled products
    of_query = F.pad(torch.cat([by_row, by_column], dim=-1) * scale, (0, rest))
    k = torch.cat([k, at.expand(*k.shape[:-1], -1)], dim=-1)
    return torch.cat([q, of_query], dim=-1), k


class GridAttention(Attention):
    """Multi-head self-attention in the windows of a grid, (B, L, C) -> (B, L, C).

    ``side`` (h, w): of the windows whose relative positions are learned, from zero, by
    the names of detectron2; None for none. Tables of a file are stretched to it.
    """

    def __init__(self, dim: int, num_heads: int, side: Size | None):
        super().__init__(dim, num_heads)
        self.side = side
        for name, length in zip(TABLES, side or ()):
            table = torch.zeros(2 * length - 1, dim // num_heads)
            setattr(self, name, nn.Parameter(table))

    def reset_parameters(self) -> None:
        """No relative positions; linear layers are the encoder's affair."""
        for name in TABLES if self.side else ():
            nn.init.zeros_(getattr(self, name))

    def forward(  # type: ignore[override]
        self, x: Tensor, grid: Size, regions: Sequence[Sequence[Region]]
    ) -> Tensor:
        """Tokens (B, L, C) of a grid that ``cut`` made the regions of."""
        return by_region(x, grid, regions, self.attend)

    def attend(self, x: Tensor, region: Region) -> Tensor:
        """Windows (B, W, N, C) of a region."""
        qkv = self.qkv(x).unflatten(-1, (3, self.num_heads, -1))
        q, k, v = qkv.permute(3, 0, 1, 4, 2, 5)  # each (B, W, H, N, D)
        scale = q.shape[-1] ** -0.5
        if self.side:
            tables = [getattr(self, name) for name in TABLES]
            q, k = join_offsets(q, k, tables, region.window)
        return self.proj(attention(q, k, v, region.penalty, scale).flatten(3))

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        for name, length in zip(TABLES, self.side or ()):
            if (key := prefix + name) in state_dict:
                table = resample_offsets(state_dict[key], 2 * length - 1)
                state_dict[key] = table
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


def attention(
    q: Tensor, k: Tensor, v: Tensor, penalty: Tensor | None, scale: float
) -> Tensor:
    """softmax(scale q k^T + penalty) v, (B, W, N, H, D).

    q, k (B, W, H, N, D'), v (B, W, H, N, D), penalty (1 | B, W, 1, N, N).
    """
    D = v.shape[-1]
    if q.device.type == 'cpu':  # whose kernel wants values as wide as keys
        v = F.pad(v, (0, q.shape[-1] - D))
    if penalty is not None:
        x = F.scaled_dot_product_attention(q, k, v, penalty.to(q.dtype), scale=scale)
    else:
        B, W = q.shape[:2]
        q, k, v = (part.flatten(0, 1) for part in (q, k, v))
        x = F.scaled_dot_product_attention(q, k, v, scale=scale).unflatten(0, (B, W))
    return x[..., :D].transpose(2, 3)
