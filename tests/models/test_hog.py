"""HOGTarget against the published procedure, done once more by loops (2112.09133)."""

import math

import numpy as np
import pytest
import torch

from mim_zoo.models import HOGTarget
from mim_zoo.models.targets.hog import gaussian_window, oriented_gradients


def by_hand(image: np.ndarray, patch: int, bins: int = 9) -> np.ndarray:
    """(C, H, W) to (L, C * bins * 4), pixel by pixel from the fact sheet's words."""
    C, H, W = image.shape
    cell = patch // 2
    line = np.exp(-0.5 * ((np.arange(patch) - (patch - 1) / 2) / cell) ** 2)
    window = np.outer(line, line) / np.outer(line, line).sum()
    histograms = np.zeros((C, bins, H // cell, W // cell))
    for c in range(C):
        x = np.pad(image[c].astype(np.float64), 1, mode='reflect')
        left, right = x[:, :-2], x[:, 2:]
        gx = left[:-2] + 2 * left[1:-1] + left[2:] - right[:-2]
        gx = gx - 2 * right[1:-1] - right[2:]
        up, down = x[:-2], x[2:]
        gy = up[:, :-2] + 2 * up[:, 1:-1] + up[:, 2:] - down[:, :-2]
        gy = gy - 2 * down[:, 1:-1] - down[:, 2:]
        magnitude, phase = np.hypot(gx, gy), np.arctan2(gx, gy) * bins / math.pi
        for i in range(H):
            for j in range(W):
                b = math.floor(phase[i, j]) % bins
                vote = magnitude[i, j] * window[i % patch, j % patch]
                histograms[c, b, i // cell, j // cell] += vote
    length = np.sqrt((histograms**2).sum(1, keepdims=True))
    histograms = histograms / np.maximum(length, 1e-12)
    rows = []
    for i in range(H // patch):
        for j in range(W // patch):
            part = histograms[:, :, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2]
            rows.append(part.reshape(-1))
    return np.stack(rows)


@pytest.mark.parametrize(
    'size, channels, patch',
    [((224, 224), 3, 16), ((192, 192), 3, 16), ((64, 96), 1, 16), ((32, 32), 4, 4)],
)
def test_is_the_published_target(
    size: tuple[int, int], channels: int, patch: int
) -> None:
    # no gradient near the border of two bins, where rounding would decide
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(1, channels, *size, generator=generator) * 255
    target = HOGTarget(stride=patch, in_channels=channels)
    ours = target(images)[0].numpy()
    theirs = by_hand(images[0].numpy(), patch)
    assert ours.shape == theirs.shape == (size[0] * size[1] // patch**2, target.dim)
    assert target.dim == channels * 36
    assert np.mean(np.abs(ours - theirs) > 1e-4) < 1e-3  # votes on the border
    assert np.abs(ours - theirs).mean() < 1e-5


def test_scaling_a_channel_changes_nothing() -> None:
    images = torch.rand(2, 3, 32, 48)
    scale, shift = torch.rand(3, 1, 1) + 0.5, torch.rand(3, 1, 1)
    target = HOGTarget(stride=8)
    torch.testing.assert_close(
        target(images * scale + shift), target(images), atol=2e-3, rtol=0
    )


def test_histograms_have_length_one_under_autocast_too() -> None:
    images = torch.rand(2, 3, 32, 32)
    target = HOGTarget(stride=8)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        x = target(images)
    assert x.dtype == torch.float32
    assert torch.equal(x, target(images))
    cells = x.view(2, 16, 3, 9, 4)
    torch.testing.assert_close(cells.norm(dim=3), torch.ones(2, 16, 3, 4))
    flat = target(torch.full((1, 3, 32, 32), 7.0))
    assert torch.equal(flat, torch.zeros_like(flat))


def test_one_cell_is_the_histogram_of_the_patch() -> None:
    images = torch.rand(1, 3, 16, 24)
    one, four = HOGTarget(cells=1, stride=8), HOGTarget(stride=8)
    assert one.dim == 27
    window = gaussian_window(8, images.device)
    magnitude, bin_of = oriented_gradients(images, 9, window)
    sums = torch.zeros(1, 3, 9, 2, 3)
    for i in range(16):
        for j in range(24):
            for c in range(3):
                b = int(bin_of[0, c, i, j])
                sums[0, c, b, i // 8, j // 8] += magnitude[0, c, i, j]
    expected = torch.nn.functional.normalize(sums, dim=2)
    expected = expected.permute(0, 3, 4, 1, 2).reshape(1, 6, 27)
    torch.testing.assert_close(one(images), expected)
    assert four(images).shape == (1, 6, 108)


def test_mistakes() -> None:
    with pytest.raises(ValueError, match=r'a patch of 7 px, cells=2.*whole cells'):
        HOGTarget(stride=7)
    with pytest.raises(ValueError, match='expected multiples of the patch'):
        HOGTarget(stride=8)(torch.rand(1, 3, 32, 30))
    with pytest.raises(ValueError, match='none for a class token'):
        HOGTarget(stride=8, prefix_tokens=1)
