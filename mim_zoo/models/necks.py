"""Which depths of the encoder are used, and how they are fused (MFF, 2308.00261).

Legend: V views or B images, P prefix tokens, K_i tokens of level i and K of the deepest
one, C channels; L' tokens at the stem, L = h * w cells of predictions.
"""

import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from mim_zoo.registry import MODELS

from .layers import Block, Size, init_transformer, resolve_indices, same_group


def average_cells(x: Tensor, grid: Size, side: int) -> Tensor:
    """The mean of side x side tokens in each cell of the grid (h, w).

    (B, h * side * w * side, C) -> (B, L, C), both row-major. Side 1 changes nothing,
    also where tokens were dropped or prefix tokens stand in front.
    """
    if side == 1:
        return x
    h, w = grid
    return x.unflatten(1, (h, side, w, side)).mean(dim=(2, 4)).flatten(1, 2)


def labels_of_cells(groups: Tensor, grid: Size) -> Tensor:
    """Labels at the stem (B | 1, L') on the grid (h, w), (B | 1, L): one of each cell.

    All tokens of a cell have one label, as masks have no finer cells.
    """
    h, w = grid
    side = math.isqrt(groups.shape[1] // (h * w))
    cells = groups.view(-1, h, side, w, side)
    return cells[:, :, 0, :, 0].flatten(1)


def make_projection(kind: str, channels: int, width: int) -> nn.Module:
    """Of one shallow level: (B, N, channels) -> (B, N, width)."""
    if kind == 'linear':
        return nn.Linear(channels, width)
    if kind == 'mlp':
        return nn.Sequential(
            nn.Linear(channels, width), nn.GELU(), nn.Linear(width, width)
        )
    if channels != width:
        raise ValueError(
            f"LevelFusion: got proj='none' for a level of {channels} channels and a "
            f"last one of {width}, expected equal widths; use proj='linear' or 'mlp'"
        )
    return nn.Identity()


class Fusion(nn.Module):
    """Several levels to one; all but the last one are projected, prefix included.

    Args:
        channels: width of every level, the deepest one last.
        proj: 'linear', 'mlp' (linear, GELU, linear) or 'none'.
    """

    def __init__(self, channels: Sequence[int], proj: str = 'linear'):
        super().__init__()
        *shallow, last = channels
        self.proj_layers = nn.ModuleList(
            make_projection(proj, c, last) for c in shallow
        )

    def reset_parameters(self) -> None:
        """Random init as everywhere: Xavier, zero biases."""
        init_transformer(self)

    def forward(self, levels: Sequence[Tensor], groups: Tensor | None = None) -> Tensor:
        """Levels (B, P + K, C_i), the deepest last, to one (B, P + K, C).

        groups (B | 1, K): tokens of unequal labels are kept apart.
        """
        raise NotImplementedError


class WeightedFusion(Fusion):
    """Softmax-weighted sum (2308.00261); the weights start equal."""

    def __init__(self, channels: Sequence[int], proj: str = 'linear'):
        super().__init__(channels, proj)
        self.proj_weights = nn.Parameter(torch.empty(len(channels), 1, 1, 1))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Xavier projections, equal weights."""
        super().reset_parameters()
        nn.init.ones_(self.proj_weights)

    @property
    def weights(self) -> Tensor:
        """Share of every level in the sum, (n, 1, 1, 1)."""
        return self.proj_weights.softmax(dim=0)

    def forward(self, levels: Sequence[Tensor], groups: Tensor | None = None) -> Tensor:
        """A token meets itself only, whatever its group."""
        *shares, share = self.weights.unbind()
        *shallow, last = levels
        x = share * last
        for share, level, proj in zip(shares, shallow, self.proj_layers):
            x = x + share * proj(level)
        return x


class AttentionFusion(Fusion):
    """A transformer layer over all levels, read out at the last one's (2308.00261).

    Its heads have 64 channels, or the most below that the width can be split into.
    """

    def __init__(self, channels: Sequence[int], proj: str = 'linear'):
        super().__init__(channels, proj)
        width = channels[-1]
        size = max(c for c in range(1, 65) if width % c == 0)
        self.block = Block(width, width // size)
        self.reset_parameters()

    def forward(self, levels: Sequence[Tensor], groups: Tensor | None = None) -> Tensor:
        """A token meets those of its group, at every place and level."""
        *shallow, last = levels
        projected = [proj(x) for proj, x in zip(self.proj_layers, shallow)]
        x = torch.cat([*projected, last], dim=1)  # (B, n (P + K), C)
        if groups is not None:
            groups = groups.repeat(1, len(levels))
        # encoders with prefix tokens refuse groups
        x = self.block(x, same_group(groups, prefix_tokens=0))
        return x[:, -last.shape[1] :]


FUSIONS: dict[str, type[Fusion]] = dict(
    weighted=WeightedFusion, attention=AttentionFusion
)
PROJECTIONS = ('linear', 'mlp', 'none')


@MODELS.register_module()
class LevelFusion(nn.Module):
    """One list of block indices per decoder; several indices in a list are fused.

    MAE is ``[[-1]]``, MFF ``[[0, 2, 4, 6, 8, 11]]``, DeepMIM ``[[5], [7], [9], [11]]``.
    Levels that are finer than the predictions are averaged over each cell first.

    Args:
        outputs: block indices counted from 0, negative ones from the end; 'all' fuses
            every block into one output.
        proj: 'linear', 'mlp' or 'none', of all levels of a list but the deepest.
        fusion: 'weighted' (softmax-weighted sum) or 'attention'.
        levels: (channels, stride) of every block, handed down by ``MIM``.
    """

    def __init__(
        self,
        outputs: Sequence[Sequence[int]] | str = ((-1,),),
        proj: str = 'linear',
        fusion: str = 'weighted',
        levels: Sequence[tuple[int, int]] = (),
    ):
        super().__init__()
        if proj not in PROJECTIONS or fusion not in FUSIONS:
            raise ValueError(
                f'LevelFusion: got proj={proj!r} and fusion={fusion!r}, expected one '
                f'of {PROJECTIONS} and one of {tuple(FUSIONS)}'
            )
        self.outputs = resolve_outputs(outputs, len(levels))
        self.last = len(levels) - 1
        self.taps = sorted({i for output in self.outputs for i in output})
        self.out_channels = [levels[output[-1]][0] for output in self.outputs]
        self.sides = [levels[-1][1] // stride for _, stride in levels]
        self.fusions = nn.ModuleList(
            FUSIONS[fusion]([levels[i][0] for i in output], proj)
            if len(output) > 1
            else nn.Identity()
            for output in self.outputs
        )

    def log_values(self) -> dict[str, Tensor]:
        """Scalars to be logged in training: the share of every level in a sum.

        They are called by the place of a level in its list, ``fusion_weight_0``; if
        several outputs are sums, by that of the output first: ``fusion_weight_1_0``.
        """
        weighted = {
            i: fusion.weights.detach().flatten().unbind()
            for i, fusion in enumerate(self.fusions)
            if isinstance(fusion, WeightedFusion)
        }
        return {
            f'fusion_weight_{i}_{j}' if len(weighted) > 1 else f'fusion_weight_{j}': w
            for i, weights in weighted.items()
            for j, w in enumerate(weights)
        }

    def forward(
        self,
        levels: dict[int, Tensor],
        norm: nn.Module,
        grid: Size,
        groups: Tensor | None = None,
    ) -> list[Tensor]:
        """{block: (B, P + K_i, C_i)} to one (B, P + K, C) per decoder.

        An output that contains the last block passes the encoder's ``norm``. ``grid``
        (h, w) is that of the predictions; ``groups`` (B | 1, L') label the tokens of
        the stem, as the encoder was told.
        """
        labels = None if groups is None else labels_of_cells(groups, grid)
        features = []
        for output, fuse in zip(self.outputs, self.fusions):
            picked = [average_cells(levels[i], grid, self.sides[i]) for i in output]
            several = len(picked) > 1
            x = cast(Fusion, fuse)(picked, labels) if several else picked[0]
            features.append(norm(x) if self.last in output else x)
        return features


def resolve_outputs(
    outputs: Sequence[Sequence[int]] | str, depth: int
) -> list[list[int]]:
    """Sorted indices 0..depth - 1; ValueError for lists that cannot be trained."""
    if outputs == 'all':
        outputs = [range(depth)]
    if isinstance(outputs, str) or not outputs or not all(outputs):
        raise ValueError(
            f'LevelFusion: got outputs={outputs!r}, expected one non-empty list of '
            "block indices per decoder, such as [[-1]], or 'all'"
        )
    resolved = [
        sorted(resolve_indices(output, depth, 'LevelFusion.outputs'))
        for output in outputs
    ]
    for given, output in zip(outputs, resolved):
        if len(set(output)) < len(output):
            raise ValueError(
                f'LevelFusion: got outputs with {given}, which names a block more '
                f'than once (of {depth} blocks, {depth - 1} is -1); name it once'
            )
    if not any(depth - 1 in output for output in resolved):
        raise ValueError(
            f'LevelFusion: got outputs={outputs} without the last block '
            f'({depth - 1}): the blocks after these would never be trained; add -1 '
            'to one of them or give the encoder a smaller depth'
        )
    return resolved
