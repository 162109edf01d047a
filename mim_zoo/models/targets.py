"""What is to be predicted: images (B, C_in, H, W) to targets (B, L, D).

Every target is told the same facts by ``MIM``: stride (pixels of a prediction cell),
in_channels, and the mean and std of the data preprocessor, in the units of the files.
It states D as ``dim``.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mim_zoo.registry import MODELS


def patchify(images: Tensor, patch: int) -> Tensor:
    """(B, C_in, H, W) -> (B, L, patch * patch * C_in): row, column, channel."""
    B, C, H, W = images.shape
    if H % patch or W % patch:
        raise ValueError(
            f'images: got {H} x {W} pixels, expected multiples of the patch '
            f'({patch}); crop or resize to a multiple'
        )
    x = images.reshape(B, C, H // patch, patch, W // patch, patch)
    return x.permute(0, 2, 4, 3, 5, 1).reshape(B, -1, patch * patch * C)


def unpatchify(patches: Tensor, patch: int, size: Sequence[int]) -> Tensor:
    """The inverse of ``patchify`` for images of ``size`` (H, W)."""
    B, _, D = patches.shape
    h, w = size[0] // patch, size[1] // patch
    x = patches.reshape(B, h, w, patch, patch, D // patch**2)
    return x.permute(0, 5, 1, 3, 2, 4).reshape(B, -1, h * patch, w * patch)


def patch_statistics(patches: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation per patch (B, L, 1), as in MAE (2111.06377).

    The variance is unbiased and gets 1e-6 before the root.
    """
    mean = patches.mean(-1, keepdim=True)
    std = (patches.var(-1, keepdim=True) + 1e-6).sqrt()
    return mean, std


class Target(nn.Module):
    """Base of targets: the facts they share, and whether they can be drawn."""

    dim: int
    mean: Tensor  # (C_in | 1, 1, 1)
    std: Tensor
    caption: str  # under a reconstruction: what was used beside the prediction

    def __init__(
        self,
        stride: int,
        in_channels: int = 3,
        mean: Sequence[float] | Tensor = (0.0,),
        std: Sequence[float] | Tensor = (1.0,),
    ):
        super().__init__()
        self.stride = stride
        self.in_channels = in_channels
        for name, values in (('mean', mean), ('std', std)):
            values = torch.as_tensor(values, dtype=torch.float32).view(-1, 1, 1)
            self.register_buffer(name, values.clone(), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images (B, C_in, H, W) to targets (B, L, D), fp32."""
        raise NotImplementedError

    def invert(self, pred: Tensor, images: Tensor) -> Tensor:
        """Predictions (B, L, D) as normalised images (B, C_in, H, W)."""
        raise ValueError(
            f'{type(self).__name__} has no inverse: it cannot be drawn as an image'
        )


@MODELS.register_module()
class PixelTarget(Target):
    """The pixels of a patch, by default standardised patch by patch (MAE).

    Args:
        normalize: subtract each patch's mean and divide by its standard deviation.
        **facts: of ``Target``, handed down by ``MIM``.
    """

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
        if not self.normalize:
            return patches
        mean, std = patch_statistics(patches)
        return (patches - mean) / std

    @torch.no_grad()
    def invert(self, pred: Tensor, images: Tensor) -> Tensor:
        """Normalised targets need the true mean and deviation of each patch."""
        pred = pred.float()
        if self.normalize:
            mean, std = patch_statistics(patchify(images.float(), self.stride))
            pred = pred * std + mean
        return unpatchify(pred, self.stride, images.shape[-2:])
