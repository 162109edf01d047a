"""Corrupted images: all kinds, from seeds, at the sizes that they are defined for."""

import numpy as np
import pytest
import torch

from mim_zoo.datasets.corruptions import CORRUPTIONS, Corrupt


@pytest.fixture(scope='module', autouse=True)
def _installed():
    pytest.importorskip('imagecorruptions')


def image(size=32):
    y, x = np.mgrid[:size, :size]
    waves = np.stack([np.sin(x / 3), np.cos(y / 4), np.sin((x + y) / 5)], axis=-1)
    return (127 + 100 * waves).astype(np.uint8)


def corrupted(name, severity=3, path='test/cat/1.png', seed=0, size=32):
    results = dict(img=image(size), img_path=path)
    return Corrupt(name, severity, seed)(results)['img']


@pytest.mark.parametrize('name', CORRUPTIONS)
def test_more_severe_is_further_away(name):
    first = corrupted(name, 1)
    assert first.shape == (32, 32, 3) and first.dtype == np.uint8
    errors = [np.abs(corrupted(name, s).astype(float) - image()).mean() for s in (1, 5)]
    assert 0 < errors[0] < errors[1]


@pytest.mark.parametrize('name', CORRUPTIONS)
def test_drawn_from_the_image_and_not_from_global_state(name):
    np.random.seed(1)
    torch.manual_seed(1)
    first = corrupted(name)
    after = np.random.random()
    np.random.seed(1)
    assert after == np.random.random()  # the state is as it was
    np.random.seed(2)
    assert np.array_equal(corrupted(name, path='elsewhere/cat/1.png'), first)


@pytest.mark.parametrize('name', ['gaussian_noise', 'impulse_noise', 'glass_blur'])
def test_images_and_seeds_differ(name):
    first = corrupted(name)
    assert not np.array_equal(corrupted(name, path='test/cat/2.png'), first)
    assert not np.array_equal(corrupted(name, seed=1), first)


def test_refuses():
    with pytest.raises(ValueError, match="got name='rain', expected one of gaussian"):
        Corrupt('rain', 1)
    with pytest.raises(ValueError, match='severity=6, expected 1 to 5'):
        Corrupt('fog', 6)
    with pytest.raises(ValueError, match='24 x 24 px, expected sides of at least 32'):
        corrupted('fog', size=24)
    results = dict(img=image().astype(np.float32), img_path='a/b.png')
    with pytest.raises(ValueError, match=r'\(H, W, 3\) uint8'):
        Corrupt('fog', 1)(results)
