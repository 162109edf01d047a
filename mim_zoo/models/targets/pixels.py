"""Pixels of a patch as targets, all of them or their low frequencies."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mim_zoo.registry import MODELS

from .base import Target, check_patches

PUBLISHED_SIZE = 224  # pixels, at which radii of low passes are given


def patchify(images: Tensor, patch: int) -> Tensor:
    """(B, C_in, H, W) -> (B, L, patch * patch * C_in): row, column, channel."""
    B, C, H, W = images.shape
    check_patches((H, W), patch)
    x = images.reshape(B, C, H // patch, patch, W // patch, patch)
    return x.permute(0, 2, 4, 3, 5, 1).reshape(B, -1, patch * patch * C)


def unpatchify(patches: Tensor, patch: int, size: Sequence[int]) -> Tensor:
    """The inverse of ``patchify`` for images of ``size`` (H, W)."""
    B, _, D = patches.shape
    h, w = size[0] // patch, size[1] // patch
    x = patches.reshape(B, h, w, patch, patch, D // patch**2)
    return x.permute(0, 5, 1, 3, 2, 4).reshape(B, -1, h * patch, w * patch)


def low_pass_disc(
    size: Sequence[int], radius: float, centred: bool, device: torch.device
) -> Tensor:
    """The frequencies that stay, (H, W) bool, in the order of ``fft2``.

    With the zero frequency shifted to the middle they are within the radius (given for
    224 px, it follows H and W) of the middle of the array, which for even sizes is half
    a bin beside it, as in PixMIM (2303.02416); or, ``centred``, of the zero frequency.
    """
    distance = torch.zeros((), dtype=torch.float64, device=device)
    for axis, n in enumerate(size):
        middle = n // 2 if centred else (n - 1) / 2
        places = torch.arange(n, dtype=torch.float64, device=device).roll(-(n // 2))
        offset = (places - middle) * (PUBLISHED_SIZE / n)
        distance = distance + offset.square().view((-1, 1) if axis == 0 else (1, -1))
    return distance <= radius**2 + 1e-6


def low_pass(images: Tensor, disc: Tensor, real: bool = False) -> Tensor:
    """Images (B, C, H, W) from their frequencies in the disc (H, W).

    The modulus of what is left, as PixMIM takes it (2303.02416): a disc beside the zero
    frequency leaves a complex image. The ``real`` part belongs to a centred one.
    """
    filtered = torch.fft.ifft2(torch.fft.fft2(images.float()) * disc)
    return filtered.real if real else filtered.abs()


def patch_statistics(patches: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation per patch (B, L, 1), as in MAE (2111.06377).

    The variance is unbiased and gets 1e-6 before the root.
    """
    mean = patches.mean(-1, keepdim=True)
    std = (patches.var(-1, keepdim=True) + 1e-6).sqrt()
    return mean, std


def standardize(patches: Tensor) -> Tensor:
    """Every vector of (B, L, D) with zero mean and unit variance, see above."""
    mean, std = patch_statistics(patches)
    return (patches - mean) / std


@MODELS.register_module()
class PixelTarget(Target):
    """The pixels of a patch, by default standardised patch by patch (MAE).

    Args:
        normalize: subtract each patch's mean and divide by its standard deviation.
        **facts: of ``Target``, handed down by ``MIM``.
    """

    drawable = True

    def __init__(self, normalize: bool = True, **facts):
        super().__init__(**facts)
        self.normalize = normalize
        self.dim = self.stride**2 * self.in_channels
        self.caption = (
            'uses ground-truth patch statistics' if normalize else 'prediction only'
        )

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """(B, C_in, H, W) -> (B, L, D)."""
        patches = patchify(images.float(), self.stride)
        return standardize(patches) if self.normalize else patches

    @torch.no_grad()
    def invert(self, pred: Tensor, images: Tensor) -> Tensor:
        """Normalised targets need the true mean and deviation of each patch."""
        pred = pred.float()
        if self.normalize:
            mean, std = patch_statistics(patchify(images.float(), self.stride))
            pred = pred * std + mean
        return unpatchify(pred, self.stride, images.shape[-2:])


@MODELS.register_module()
class LowPassTarget(PixelTarget):
    """The pixels of the image without its high frequencies (PixMIM, 2303.02416).

    The images are filtered as they were before normalisation, of which the units do not
    matter.

    Args:
        radius: of the disc of frequencies that stay, at 224 px; it follows H and W.
        centred: the disc stands on the zero frequency and the result is real; the
            published filter is half a bin off and takes the modulus.
        normalize, **facts: of ``PixelTarget``.
    """

    def __init__(
        self,
        radius: float = 40.0,
        centred: bool = False,
        normalize: bool = True,
        **facts: Any,
    ):
        super().__init__(normalize, **facts)
        if not 0 < radius <= PUBLISHED_SIZE / 2:
            raise ValueError(
                f'LowPassTarget: got radius={radius}, expected 0 < radius <= '
                f'{PUBLISHED_SIZE // 2}, half of {PUBLISHED_SIZE} px'
            )
        self.radius = radius
        self.centred = centred
        self.caption = f'low frequencies only; {self.caption}'

    @torch.no_grad()
    def smooth(self, images: Tensor) -> Tensor:
        """Normalised images (B, C_in, H, W) without their high frequencies, fp32."""
        disc = low_pass_disc(
            images.shape[-2:], self.radius, self.centred, images.device
        )
        pixels = images.float() * self.std + self.mean
        return (low_pass(pixels, disc, self.centred) - self.mean) / self.std

    def forward(self, images: Tensor) -> Tensor:
        """(B, C_in, H, W) -> (B, L, D)."""
        return super().forward(self.smooth(images))

    def invert(self, pred: Tensor, images: Tensor) -> Tensor:
        """Statistics of patches are those of the smooth images."""
        return super().invert(pred, self.smooth(images))
