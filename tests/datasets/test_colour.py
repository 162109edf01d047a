"""Changes of colour are drawn from the sample's seed and stay in 8 bits."""

import numpy as np
import pytest

from mim_zoo.datasets.sampler import seeded
from mim_zoo.registry import TRANSFORMS

IMAGE = np.random.default_rng(0).integers(0, 255, (12, 10, 3), dtype=np.uint8)


def jittered(seed: int, image: np.ndarray = IMAGE, **options: float) -> np.ndarray:
    transform = TRANSFORMS.build(dict(type='ColorJitter', **options))
    with seeded(seed):
        return transform(dict(img=image.copy()))['img']


def test_a_function_of_the_seed() -> None:
    one = jittered(1)
    assert one.dtype == np.uint8 and one.shape == IMAGE.shape
    assert np.array_equal(one, jittered(1))
    assert not np.array_equal(one, jittered(2))
    assert not np.array_equal(one, IMAGE)


def test_each_does_what_it_is_called() -> None:
    none = dict(brightness=0.0, contrast=0.0, saturation=0.0)
    assert np.array_equal(jittered(1, **none), IMAGE)
    grey = np.repeat(IMAGE[..., :1], 3, axis=2)
    assert np.abs(jittered(1, grey, **{**none, 'saturation': 0.4}) - grey).max() <= 1
    bright = jittered(1, **{**none, 'brightness': 0.4}).astype(float)
    inside = (bright < 255) & (IMAGE > 20)
    factor = bright[inside] / IMAGE[inside]
    assert np.ptp(factor) < 0.1 and 0.6 <= factor.mean() <= 1.4


def test_other_images_are_refused() -> None:
    with pytest.raises(ValueError, match='float32 with 3 channels'):
        jittered(1, IMAGE.astype(np.float32))
    with pytest.raises(ValueError, match='expects 8-bit RGB'):
        jittered(1, IMAGE[..., :1])
