"""Which depths of the encoder are used, and how they are fused.

Legend: V views or B images, P prefix tokens, K encoded patches, C channels.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mim_zoo.registry import MODELS

from .layers import Size, init_transformer, resolve_index


class WeightedFusion(nn.Module):
    """Softmax-weighted sum of levels, all but the last one projected (MFF, 2308.00261).

    The weights start equal. Projections see all tokens, prefix included.
    """

    def __init__(self, channels: Sequence[int]):
        super().__init__()
        *shallow, last = channels
        self.proj_layers = nn.ModuleList(nn.Linear(c, last) for c in shallow)
        self.proj_weights = nn.Parameter(torch.empty(len(channels), 1, 1, 1))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Xavier projections, equal weights."""
        init_transformer(self)
        nn.init.ones_(self.proj_weights)

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        """Levels (B, P + K, C_i), the deepest last, to one (B, P + K, C)."""
        *shallow, last = levels
        projected = [proj(x) for proj, x in zip(self.proj_layers, shallow)]
        weights = self.proj_weights.softmax(dim=0)
        return (weights * torch.stack([*projected, last])).sum(dim=0)


@MODELS.register_module()
class LevelFusion(nn.Module):
    """One list of block indices per decoder; several indices in a list are fused.

    MAE is ``[[-1]]``, MFF ``[[0, 2, 4, 6, 8, 11]]``, DeepMIM ``[[5], [7], [9], [11]]``.

    Args:
        outputs: block indices counted from 0, negative ones from the end.
        levels: (channels, stride) of every block, handed down by ``MIM``.
    """

    def __init__(
        self,
        outputs: Sequence[Sequence[int]] = ((-1,),),
        levels: Sequence[tuple[int, int]] = (),
    ):
        super().__init__()
        if not outputs or not all(outputs):
            raise ValueError(
                f'LevelFusion: got outputs={outputs}, expected one non-empty list of '
                'block indices per decoder, such as [[-1]]'
            )
        depth = len(levels)
        self.outputs = [
            sorted(resolve_index(i, depth, 'LevelFusion.outputs') for i in output)
            for output in outputs
        ]
        for given, output in zip(outputs, self.outputs):
            if len(set(output)) < len(output):
                raise ValueError(
                    f'LevelFusion: got outputs with {given}, which names a block more '
                    f'than once (of {depth} blocks, {depth - 1} is -1); name it once'
                )
        self.last = depth - 1
        if not any(self.last in output for output in self.outputs):
            raise ValueError(
                f'LevelFusion: got outputs={outputs} without the last block '
                f'({self.last}): the blocks after these would never be trained; add -1 '
                'to one of them or give the encoder a smaller depth'
            )
        self.taps = sorted({i for output in self.outputs for i in output})
        self.out_channels = [levels[output[-1]][0] for output in self.outputs]
        self.fusions = nn.ModuleList(
            WeightedFusion([levels[i][0] for i in output])
            if len(output) > 1
            else nn.Identity()
            for output in self.outputs
        )

    def log_values(self) -> dict[str, Tensor]:
        """Scalars to be logged in training."""
        return {}

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
        features = []
        for output, fuse in zip(self.outputs, self.fusions):
            picked = [levels[i] for i in output]
            x = fuse(picked) if len(picked) > 1 else picked[0]
            features.append(norm(x) if self.last in output else x)
        return features
