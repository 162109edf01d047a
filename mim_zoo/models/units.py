"""Are pixels, mean and standard deviation in one unit?

Normalised pixels of a whole data set have mean 0 and mean square 1. A batch is not the
data set, but in wrong units it is off by orders of magnitude.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

Statistics = tuple[Sequence[float], Sequence[float]]  # mean and std, per channel

IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)
FAR = 10  # standard deviations from the mean, of the mean pixel
NARROW = 0.02  # standard deviation of normalised pixels


def as_statistics(
    mean: float | Sequence[float], std: float | Sequence[float], channels: int | None
) -> tuple[Tensor, Tensor]:
    """Mean and std (C_in | 1, 1, 1) from one number for all channels or one for each.

    ``channels`` is C_in, None if it is not known. ValueError for another count, and
    for a std that is not positive.
    """
    means, stds = ([float(x) for x in np.ravel(values)] for values in (mean, std))
    counts = {len(means), len(stds)} - {1}
    if len(counts) > 1 or (channels is not None and counts - {channels}):
        raise ValueError(
            f'mean and std: got {len(means)} and {len(stds)} numbers, expected '
            f'{channels or "as many"} each, one per input channel of the encoder, or '
            'one: set mean=[...], std=[...] in the units of your files'
        )
    if min(stds) <= 0:
        raise ValueError(f'std: got {tuple(stds)}, expected positive numbers')
    return torch.tensor(means).view(-1, 1, 1), torch.tensor(stds).view(-1, 1, 1)


def check_units(normalized: Tensor, fix: str, narrow: bool = True) -> bool:
    """ValueError if normalised pixels (B, C_in, H, W) tell that units were mixed up.

    ``narrow`` asks for contrast, too. Returns whether the batch told anything: one of
    blank images does not.
    """
    off = float(normalized.abs().mean())
    spread = float(normalized.std(dim=(0, 2, 3), correction=0).max())
    if spread == 0:
        return False
    if off > FAR:
        raise ValueError(
            f'images: got pixels that lie {off:.0f} standard deviations from the mean '
            f'on average, expected about 1; {fix} (files of 8 bits are 0..255, of 16 '
            'bits 0..65535)'
        )
    if narrow and spread < NARROW:
        raise ValueError(
            f'images: got pixels that differ by {spread:.1g} standard deviations, '
            f'expected about 1; {fix} (are the pixels between 0 and 1, and mean and '
            'std between 0 and 255?)'
        )
    return True
