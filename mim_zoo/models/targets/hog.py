"""Histograms of oriented gradients as targets (MaskFeat, 2112.09133)."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mim_zoo.registry import MODELS

from .base import Target, check_patches


def sobel(images: Tensor) -> tuple[Tensor, Tensor]:
    """Differences along rows and columns, (B, C, H, W) each, the border reflected."""
    x = F.pad(images, (1, 1, 1, 1), mode='reflect')
    dx = x[..., :-2] - x[..., 2:]
    dy = x[..., :-2, :] - x[..., 2:, :]
    gx = dx[..., :-2, :] + 2 * dx[..., 1:-1, :] + dx[..., 2:, :]
    gy = dy[..., :-2] + 2 * dy[..., 1:-1] + dy[..., 2:]
    return gx, gy


def gaussian_window(side: int, device: torch.device) -> Tensor:
    """Weights (side, side) that sum to 1, of standard deviation side / 2."""
    places = torch.arange(side, dtype=torch.float32, device=device)
    line = torch.exp(-0.5 * ((places - (side - 1) / 2) / (side / 2)) ** 2)
    window = line[:, None] * line
    return window / window.sum()


def oriented_gradients(
    images: Tensor, bins: int, window: Tensor
) -> tuple[Tensor, Tensor]:
    """Magnitude and bin of the gradient at every pixel of (B, C, H, W), the same shape.

    Magnitudes are multiplied by the window, repeated over the image; bins, of
    orientations without a sign, are whole numbers below ``bins``.
    """
    gx, gy = sobel(images)
    (H, W), side = images.shape[-2:], len(window)
    magnitude = torch.sqrt(gx.square() + gy.square())
    magnitude = magnitude * window.repeat(-(-H // side), -(-W // side))[:H, :W]
    bin_of = (torch.atan2(gx, gy) / math.pi * bins).floor().remainder(bins)
    return magnitude, bin_of


def cell_histograms(magnitude: Tensor, bin_of: Tensor, bins: int, cell: int) -> Tensor:
    """Sum of magnitudes by bin and cell: (B, C, H, W) to (B, C, bins, H/cell, W/cell).

    The histogram of each cell and channel has length 1.
    """
    labels = torch.arange(bins, device=magnitude.device).view(-1, 1, 1)
    voted = torch.where(bin_of[:, :, None] == labels, magnitude[:, :, None], 0.0)
    sums = F.avg_pool2d(voted.flatten(0, 1), cell, divisor_override=1)
    return F.normalize(sums.unflatten(0, magnitude.shape[:2]), dim=2, eps=1e-12)


@MODELS.register_module()
class HOGTarget(Target):
    """Histograms of oriented gradients per cell and channel (MaskFeat, 2112.09133).

    Cells are half a patch each way, 8 px at patch 16, as published. Scaling or shifting
    a channel changes nothing, so normalised images have the histograms of raw ones.

    Args:
        bins: of the orientation, unsigned.
        cells: along each side of a patch; 1 for patches of so few pixels that a part of
            them makes no histogram.
        **facts: of ``Target``, handed down by ``MIM``.
    """

    def __init__(self, bins: int = 9, cells: int = 2, **facts: Any):
        super().__init__(**facts)
        if cells < 1 or self.stride % cells or bins < 1:
            raise ValueError(
                f'HOGTarget: got a patch of {self.stride} px, cells={cells} and '
                f'bins={bins}, expected a patch of whole cells and at least one bin'
            )
        self.bins = bins
        self.cells = cells
        self.dim = self.in_channels * bins * cells**2
        self.caption = 'histograms of gradients'

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """(B, C_in, H, W) to (B, L, D); D: channel, bin, row and column of the cell."""
        check_patches(images.shape[-2:], self.stride)
        window = gaussian_window(self.stride, images.device)
        magnitude, bin_of = oriented_gradients(images.float(), self.bins, window)
        side = self.stride // self.cells
        x = cell_histograms(magnitude, bin_of, self.bins, side)
        x = x.unflatten(4, (-1, self.cells)).unflatten(3, (-1, self.cells))
        # (B, C_in, bins, h, cells, w, cells) to (B, h, w, C_in, bins, cells, cells)
        return x.permute(0, 3, 5, 1, 2, 4, 6).flatten(3).flatten(1, 2)
