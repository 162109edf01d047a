"""The low-frequency target of PixMIM, against the published procedure in numpy."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mim_zoo.datasets import SamplePhotos
from mim_zoo.datasets.transforms import resize
from mim_zoo.models import MIM, LowPassTarget
from mim_zoo.models.targets import low_pass, low_pass_disc, patchify
from mim_zoo.visualization import draw_reconstruction, reconstruction_columns

Build = Callable[..., MIM]
Masks = Callable[..., Tensor]

MEAN = np.array([123.675, 116.28, 103.53]).reshape(3, 1, 1)
STD = np.array([58.395, 57.12, 57.375]).reshape(3, 1, 1)
CPU = torch.device('cpu')


def target(stride: int = 16, **options: Any) -> LowPassTarget:
    return LowPassTarget(
        stride=stride, mean=MEAN.flatten(), std=STD.flatten(), **options
    )


def published(image: np.ndarray, radius: float = 40.0) -> np.ndarray:
    """Fact sheet: [0, 1], FFT, shift, disc, inverse without un-shifting, modulus."""
    mean, std = MEAN / 255, STD / 255
    spectrum = np.fft.fftshift(np.fft.fft2(image * std + mean), axes=(-2, -1))
    h, w = image.shape[-2:]
    i, j = np.mgrid[:h, :w]
    keep = (i - (h - 1) / 2) ** 2 + (j - (w - 1) / 2) ** 2 <= radius**2
    filtered = np.abs(np.fft.ifft2(spectrum * keep))
    return (filtered - mean) / std


def test_it_is_the_published_filter() -> None:
    torch.manual_seed(0)
    images = torch.randn(2, 3, 224, 224)
    expected = torch.from_numpy(np.stack([published(x.numpy()) for x in images]))
    found = target().smooth(images)
    torch.testing.assert_close(found, expected.float(), rtol=1e-5, atol=2e-5)
    patches = patchify(expected, 16)
    std = (patches.var(-1, keepdim=True) + 1e-6).sqrt()
    patches = (patches - patches.mean(-1, keepdim=True)) / std
    error = (target()(images) - patches).abs().max() / patches.abs().max()
    assert error < 1e-5
    raw = target(normalize=False)(images)
    torch.testing.assert_close(raw, patchify(found, 16))


def shifted(size: tuple[int, int], radius: float, centred: bool) -> Tensor:
    disc = low_pass_disc(size, radius, centred, CPU)
    return torch.fft.fftshift(disc, dim=(0, 1))


def test_coefficients_that_stay() -> None:
    disc = shifted((224, 224), 40, centred=False)
    assert disc.sum() == 5024
    assert disc[112, 112]
    middle = shifted((224, 224), 40, centred=True)
    assert middle.sum() == 5025
    assert (disc != middle).sum() == 113
    # a centred disc holds every frequency with its conjugate
    assert torch.equal(middle[1:, 1:], middle[1:, 1:].flip(0, 1))


@pytest.mark.parametrize('size', [(32, 32), (448, 448), (112, 336), (45, 28)])
@pytest.mark.parametrize('centred', [True, False])
def test_the_radius_follows_the_size(size: tuple[int, int], centred: bool) -> None:
    disc = shifted(size, 40, centred)
    h, w = size
    i, j = np.mgrid[:h, :w]
    ci, cj = (h // 2, w // 2) if centred else ((h - 1) / 2, (w - 1) / 2)
    keep = ((i - ci) / (40 * h / 224)) ** 2 + ((j - cj) / (40 * w / 224)) ** 2
    sure = np.abs(keep - 1) > 1e-9
    assert np.array_equal(disc.numpy()[sure], (keep <= 1)[sure])


def test_the_centred_filter() -> None:
    torch.manual_seed(0)
    images = torch.randn(2, 3, 64, 96)
    smooth = target(centred=True).smooth(images)
    disc = low_pass_disc((64, 96), 40.0, True, CPU)
    spectrum = np.fft.fft2(images.numpy()) * disc.numpy()
    expected = np.fft.ifft2(spectrum)
    assert np.abs(expected.imag).max() < 1e-6  # real by itself
    torch.testing.assert_close(
        smooth, torch.from_numpy(expected.real).float(), rtol=1e-4, atol=1e-5
    )
    twice = target(centred=True).smooth(smooth)
    torch.testing.assert_close(twice, smooth, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('centred', [True, False])
def test_constant_images_stay(centred: bool) -> None:
    images = torch.tensor([0.5, -1.0, 2.0]).view(1, 3, 1, 1).expand(1, 3, 48, 80)
    smooth = target(centred=centred).smooth(images)
    torch.testing.assert_close(smooth, images.contiguous(), rtol=1e-5, atol=1e-5)


def test_high_frequencies_go() -> None:
    stripes = torch.arange(64).remainder(2).float().expand(1, 3, 64, 64)
    ramp = (torch.arange(64) / 64 * 2 * torch.pi).cos().expand(1, 3, 64, 64)
    disc = low_pass_disc((64, 64), 40.0, True, CPU)
    kept = low_pass(stripes + ramp, disc, real=True)
    torch.testing.assert_close(kept, ramp + 0.5, rtol=0, atol=1e-5)


def test_the_two_filters_are_close_on_photographs() -> None:
    beside, centred = (low_pass_disc((224, 224), 40.0, c, CPU) for c in (False, True))
    for picture in SamplePhotos().pictures.values():
        image = torch.from_numpy(resize(picture, (224, 224), 'bilinear') / 255)
        image = image.permute(2, 0, 1)
        off = low_pass(image, beside) - low_pass(image, centred, real=True)
        assert off.abs().mean() < 0.01
    edge = (torch.arange(224) >= 100).float().expand(1, 224, 224)
    published, proper = low_pass(edge, beside), low_pass(edge, centred, real=True)
    assert proper.min() < -0.05 and published.min() >= 0  # undershoot, folded up
    assert (published - proper).abs().max() > 0.1


def test_units_do_not_matter() -> None:
    images = torch.randn(1, 3, 32, 32)
    small = LowPassTarget(stride=8, mean=MEAN.flatten() / 255, std=STD.flatten() / 255)
    torch.testing.assert_close(
        small.smooth(images), target(8).smooth(images), rtol=1e-4, atol=1e-5
    )


# --- in a model ------------------------------------------------------------------


@pytest.mark.parametrize('channels', [1, 3, 4, 13])
def test_statistics_come_from_the_data_preprocessor(
    build_mim: Build, head_cfg: dict, channels: int
) -> None:
    mean, std = [10.0 + i for i in range(channels)], [3.0] * channels
    model = build_mim(
        dict(in_channels=channels),
        head=dict(head_cfg, target=dict(type='LowPassTarget')),
        data_preprocessor=dict(type='MIMDataPreprocessor', mean=mean, std=std),
    )
    found = model.head.target
    assert found.mean.flatten().tolist() == mean
    assert found.std.flatten().tolist() == std
    assert not any('mean' in name for name in model.state_dict())
    images = torch.randn(2, channels, 32, 48)
    disc = low_pass_disc((32, 48), 40.0, False, CPU)
    shift = torch.tensor(mean).view(-1, 1, 1)
    expected = (low_pass(images * 3 + shift, disc) - shift) / 3
    torch.testing.assert_close(found.smooth(images), expected)


def test_it_trains_draws_and_traces(
    build_mim: Build, head_cfg: dict, random_mask: Masks
) -> None:
    torch.compiler.reset()
    model = build_mim(head=dict(head_cfg, target=dict(type='LowPassTarget', radius=20)))
    images, mask = torch.randn(2, 3, 32, 48), random_mask(2, 24, 18)
    loss = model.loss(images, mask)['loss_0']
    traced = torch.compile(model.loss, fullgraph=True, backend='eager')
    torch.testing.assert_close(traced(images, mask, num_hidden=18)['loss_0'], loss)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert model.head.target(images).dtype == torch.float32
    assert draw_reconstruction(model, images, mask).ndim == 3
    smooth = model.head.target.smooth(images)
    perfect = model.head.target(images)  # drawn, it is the smooth image
    drawn = model.head.target.invert(perfect, images)
    torch.testing.assert_close(drawn, smooth, rtol=1e-4, atol=1e-4)
    columns, caption = reconstruction_columns(model, images, mask)
    assert columns['prediction'].shape == images.shape
    assert caption == 'low frequencies only; uses ground-truth patch statistics'


@pytest.mark.parametrize('radius', [0, -3, 112.5])
def test_impossible_radii(radius: float) -> None:
    with pytest.raises(ValueError, match=rf'radius={radius}.*<= 112'):
        target(radius=radius)
