"""Necks that make the maps of an encoder fit detectors and segmenters.

Legend: B images, D channels of the encoder, C channels of a detector, h x w a map.
They build no children from configs: inside mmdet or mmseg a type without a scope would
be looked up in their registries.
"""

from collections.abc import Sequence

import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from mim_zoo.registry import MODELS

SCALES = (4, 2, 1, 0.5)  # of a plain ViT's stride: 4, 8, 16, 32 pixels for 16
PYRAMID_NORMS = {'SyncBN': nn.SyncBatchNorm, 'BN': nn.BatchNorm2d}


@MODELS.register_module()
class ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels of each place of a map (B, C, h, w)."""

    def __init__(self, channels: int, eps: float = 1e-6):
        super().__init__(channels, eps=eps)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def check_maps(
    maps: Sequence[Tensor], channels: Sequence[int | None], neck: nn.Module
) -> None:
    """ValueError unless there is a map (B, D_i, h_i, w_i) for each of these D_i.

    None stands for any D_i.
    """
    name, wanted = type(neck).__name__, len(channels)
    if len(maps) != wanted:
        raise ValueError(
            f'{name}: got {len(maps)} map(s) of the backbone, expected {wanted}; set '
            f'backbone.out_indices to {wanted} of its blocks (MixMIMViT: stages)'
        )
    found = [x.shape[1] for x in maps]
    if any(want not in (None, got) for want, got in zip(channels, found)):
        raise ValueError(
            f'{name}: got maps of {found} channels, expected {list(channels)}; set the '
            "neck's channels to the encoder's"
        )


def rescale(channels: Sequence[int], scale: float, norm: nn.Module) -> nn.Module:
    """A map (B, D, h, w) made ``scale`` times as fine, by transposed convolutions.

    channels: before and after each doubling; norm: between two doublings.
    """
    if scale == 4:
        first, middle, last = channels
        return nn.Sequential(
            nn.ConvTranspose2d(first, middle, 2, stride=2),
            norm,
            nn.GELU(),
            nn.ConvTranspose2d(middle, last, 2, stride=2),
        )
    if scale == 2:
        return nn.ConvTranspose2d(channels[0], channels[-1], 2, stride=2)
    return nn.Identity() if scale == 1 else nn.MaxPool2d(2, stride=2)


@MODELS.register_module()
class SimpleFeaturePyramid(BaseModule):
    """The pyramid of ViTDet (2203.16527): every level from the last map alone.

    A map (B, D, h, w) at 4, 2, 1 and 1/2 of its resolution, each brought to C channels
    by a 1 x 1 and a 3 x 3 convolution; then every second place of the coarsest, as
    often as ``num_outs`` asks. Norms are ``ChannelNorm``.

    Args:
        in_channels: D.
        out_channels: C.
        num_outs: levels in all, 4 or more.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int = 256,
        num_outs: int = 5,
        init_cfg: dict | None = None,
    ):
        super().__init__(init_cfg)
        if num_outs < len(SCALES):
            raise ValueError(f'num_outs: got {num_outs}, expected 4 or more')
        if in_channels % 4:
            raise ValueError(
                f'in_channels: got {in_channels}, expected a multiple of 4, as '
                'channels are halved twice'
            )
        self.in_channels, self.extra = in_channels, num_outs - len(SCALES)
        half, quarter = in_channels // 2, in_channels // 4
        widths = ((in_channels, half, quarter), (in_channels, half), (in_channels,))
        self.levels = nn.ModuleList()
        for scale, channels in zip(SCALES, (*widths, (in_channels,))):
            self.levels.append(
                nn.Sequential(
                    rescale(channels, scale, ChannelNorm(half)),
                    nn.Conv2d(channels[-1], out_channels, 1, bias=False),
                    ChannelNorm(out_channels),
                    nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
                    ChannelNorm(out_channels),
                )
            )

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """One map (B, D, h, w) to ``num_outs`` (B, C, h_i, w_i), fine to coarse."""
        check_maps(maps, [self.in_channels], self)
        levels = [level(maps[0]) for level in self.levels]
        for _ in range(self.extra):
            levels.append(F.max_pool2d(levels[-1], 1, stride=2))
        return tuple(levels)


@MODELS.register_module()
class TapPyramid(BaseModule):
    """Four maps of one resolution to a pyramid (BEiT's for UperNet, 2106.08254).

    Taps of four blocks, (B, D, h, w) each, at 4, 2, 1 and 1/2 of their resolution, in
    this order; channels stay. Official DeepMIM and dBOT fine-tune with it, under
    UperNet and under the FPN of Cascade Mask R-CNN.

    Args:
        in_channels: D.
        norm: 'SyncBN', which is 'BN' in a single process, or 'BN'.
    """

    def __init__(
        self, in_channels: int, norm: str = 'SyncBN', init_cfg: dict | None = None
    ):
        super().__init__(init_cfg)
        if norm not in PYRAMID_NORMS:
            raise ValueError(
                f'norm: got {norm!r}, expected one of {list(PYRAMID_NORMS)}'
            )
        self.in_channels = in_channels
        widths = [in_channels] * 3
        self.levels = nn.ModuleList(
            rescale(widths, scale, PYRAMID_NORMS[norm](in_channels)) for scale in SCALES
        )

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Four maps (B, D, h, w) to four (B, D, h_i, w_i), fine to coarse."""
        check_maps(maps, [self.in_channels] * len(SCALES), self)
        return tuple(level(x) for level, x in zip(self.levels, maps))


@MODELS.register_module()
class TapNorm(BaseModule):
    """A norm for each map that left the encoder without one, as in Swin (2103.14030).

    Args:
        channels: of each map (B, C_i, h_i, w_i); None for a map that stays as it is,
            such as the last one, which the encoder norms.
        eps: of each norm.
    """

    def __init__(
        self,
        channels: Sequence[int | None],
        eps: float = 1e-5,
        init_cfg: dict | None = None,
    ):
        super().__init__(init_cfg)
        self.channels = tuple(channels)
        self.norms = nn.ModuleList(
            nn.Identity() if c is None else ChannelNorm(c, eps) for c in channels
        )

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Maps, normed."""
        check_maps(maps, self.channels, self)
        return tuple(norm(x) for norm, x in zip(self.norms, maps))
