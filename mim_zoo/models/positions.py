"""Positions of patches: fixed ones, and tables of files brought to another grid.

Legend: P prefix tokens, L patches, C channels.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from .layers import Size

_SAME, _ALIKE = 0.999, 0.9  # correlation of fixed positions, of trained or noisy ones


def sincos_position(channels: int, grid: Size) -> Tensor:
    """Fixed 2-D sine-cosine positions of MAE (2111.06377), (h * w, C), row-major.

    The first half of the channels encodes the column, the second half the row; in
    each half the sines come before the cosines.
    """
    if channels % 4:
        raise ValueError(
            f'sine-cosine positions need a width divisible by 4, got {channels}'
        )
    omega = torch.arange(channels // 4, dtype=torch.float64) / (channels // 4)
    omega = 1.0 / 10000**omega

    def encode(axis: Tensor) -> Tensor:
        angle = axis.double().flatten()[:, None] * omega
        return torch.cat([angle.sin(), angle.cos()], dim=1)

    rows, columns = torch.meshgrid(
        torch.arange(grid[0]), torch.arange(grid[1]), indexing='ij'
    )
    return torch.cat([encode(columns), encode(rows)], dim=1).float()


def resample_position(table: Tensor, old: Size, new: Size) -> Tensor:
    """Positions of one grid brought to another, bicubic: (1, L, C) -> (1, L', C)."""
    if old == new:
        return table
    maps = table.float().reshape(1, *old, -1).permute(0, 3, 1, 2)
    maps = F.interpolate(maps, size=new, mode='bicubic', align_corners=False)
    return maps.flatten(2).transpose(1, 2).to(table.dtype)


def stored_grid(patches: Tensor, wanted: Size | None = None) -> Size | None:
    """The grid (h, w) that positions (1, L, C) are made for; None if nothing tells it.

    Sine-cosine positions tell it, also if they have moved a little. Others are taken to
    be of ``wanted`` if they are as many, else of a square.
    """
    length, channels = patches.shape[1:]
    side = math.isqrt(length)
    likely = (wanted, (side, side))
    guess = next((g for g in likely if g is not None and g[0] * g[1] == length), None)
    if channels % 4 or length == 0 or patches.is_meta:
        return guess
    if guess is not None and _likeness(patches, guess) > _SAME:
        return guess
    grids = [(n, length // n) for n in range(1, length + 1) if length % n == 0]
    likeness, best = max((_likeness(patches, grid), grid) for grid in grids)
    return best if likeness > _ALIKE else guess


def _likeness(patches: Tensor, grid: Size) -> float:
    """Correlation of positions, around their mean, with sine-cosine ones of a grid."""
    table = sincos_position(patches.shape[2], grid)
    given = patches[0].detach().float().cpu()
    one, other = ((x - x.mean(0)).flatten() for x in (given, table))
    return float(F.cosine_similarity(one, other, dim=0))


def position_from_file(
    table: Tensor,
    grid: Size,
    prefix_tokens: int,
    name: str = 'pos_embed',
    stored_prefix: int | None = None,
) -> Tensor:
    """A stored table (1, P' + L', C) made to fit (1, P + L, C).

    P' is ``stored_prefix`` or else P, unless only the other of 0 and 1 is possible; the
    grid is that of ``stored_grid``. Prefix rows are dropped, or added as zeros (what
    the sine-cosine tables hold). ValueError if nothing tells the grid.
    """
    first = prefix_tokens if stored_prefix is None else stored_prefix
    for prefix in (first, 1 - first):
        patches = table[:, prefix:]
        old = stored_grid(patches, grid)
        if old is not None:
            break
    else:
        wanted = prefix_tokens + grid[0] * grid[1]
        raise ValueError(
            f'{name}: cannot tell the grid of {table.shape[1]} stored positions, '
            f'expected {wanted} or a square grid (plus a class token)'
        )
    patches = resample_position(patches, old, grid)
    head = table[:, :prefix]
    if prefix != prefix_tokens:
        head = table.new_zeros(1, prefix_tokens, table.shape[2])
    return torch.cat([head, patches], dim=1)
