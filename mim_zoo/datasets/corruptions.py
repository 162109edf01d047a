"""The 15 common corruptions of images (1903.12261), drawn when an image is read."""

import inspect
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from zlib import crc32

from mim_zoo.registry import TRANSFORMS

from .sampler import seeded

CORRUPTIONS = (
    'gaussian_noise',
    'shot_noise',
    'impulse_noise',
    'defocus_blur',
    'glass_blur',
    'motion_blur',
    'zoom_blur',
    'snow',
    'frost',
    'fog',
    'brightness',
    'contrast',
    'elastic_transform',
    'pixelate',
    'jpeg_compression',
)
SEVERITIES = (1, 2, 3, 4, 5)
SMALLEST = 32  # px, what frost and others can do


@TRANSFORMS.register_module()
class Corrupt:
    """Corrupt an image (H, W, 3) uint8, sides of 32 px or more, at its final size.

    By the package ``imagecorruptions``, whose severities are those of ImageNet-C at any
    size; the files of CIFAR-10-C are milder. What is drawn is a function of ``seed``,
    the corruption and the last two parts of the image's path.

    Args:
        name: one of ``CORRUPTIONS``.
        severity: 1 to 5.
    """

    def __init__(self, name: str, severity: int, seed: int = 0) -> None:
        if name not in CORRUPTIONS:
            raise ValueError(
                f'Corrupt: got name={name!r}, expected one of {", ".join(CORRUPTIONS)}'
            )
        if severity not in SEVERITIES:
            raise ValueError(f'Corrupt: got severity={severity}, expected 1 to 5')
        self.name, self.severity, self.seed = name, severity, seed
        self.takes_seed = 'seed' in inspect.signature(_function(name)).parameters

    def __call__(self, results: dict) -> dict:
        image = results['img']
        if image.dtype != 'uint8' or image.ndim != 3 or image.shape[2] != 3:
            raise ValueError(
                f'Corrupt: got an image {image.shape} of {image.dtype}, expected '
                '(H, W, 3) uint8'
            )
        if min(image.shape[:2]) < SMALLEST:
            raise ValueError(
                f'Corrupt: got an image of {image.shape[0]} x {image.shape[1]} px, '
                f'expected sides of at least {SMALLEST}; put it after the resize'
            )
        words = (
            self.seed,
            self.name,
            self.severity,
            Path(results['img_path']).parts[-2:],
        )
        seed = crc32(repr(words).encode())
        more = {'seed': seed} if self.takes_seed else {}
        with seeded(seed):
            results['img'] = _package().corrupt(
                image, severity=self.severity, corruption_name=self.name, **more
            )
        return results


def _package() -> ModuleType:
    try:
        import imagecorruptions
    except ImportError as error:
        raise ValueError(
            "corruptions need the package imagecorruptions, in its version for today's "
            'NumPy: pip install numba && pip install --no-deps imagecorruptions-imaug'
        ) from error
    return imagecorruptions


def _function(name: str) -> Callable:
    _package()
    from imagecorruptions import corruptions

    return getattr(corruptions, name)
