"""Pipeline steps on one image: load, crop, flip, augment, pack.

``results['img']`` is (H, W, C), uint8 or float32, any C. Random numbers come only from
torch's default generator, ``random`` and numpy, which the dataset seeds per sample.
"""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import torch
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

from mim_zoo.registry import TRANSFORMS

from .boxes import random_box, single_draw_box
from .image_io import CHANNELS, content_of, decode_image

_OF_OPENCV = dict(
    nearest=cv2.INTER_NEAREST, bilinear=cv2.INTER_LINEAR, bicubic=cv2.INTER_CUBIC
)


def to_tensor(img: np.ndarray) -> torch.Tensor:
    """(H, W, C) array to a (C, H, W) view."""
    return torch.from_numpy(np.ascontiguousarray(img)).permute(2, 0, 1)


def to_array(img: torch.Tensor) -> np.ndarray:
    """(C, H, W) tensor to a contiguous (H, W, C) array."""
    return img.permute(1, 2, 0).contiguous().numpy()


def resize(
    img: np.ndarray,
    size: tuple[int, int],
    interpolation: str,
    antialias: bool = True,
) -> np.ndarray:
    """Resize (H, W, C) to ``size``, with antialiasing unless told not to (OpenCV).

    On photographs in uint8 this is Pillow's result to one grey level, save a few levels
    at one saturated pixel in 10,000 (tested), in a fraction of the time. float32 stays
    within each channel's own range: bicubic overshoot, which uint8 loses by
    saturation, would make impossible values such as negative counts.
    """
    if img.shape[:2] == tuple(size):
        return img
    if antialias:
        mode = InterpolationMode(interpolation)
        out = to_array(F.resize(to_tensor(img), list(size), mode, antialias=True))
    else:
        out = cv2.resize(img, size[::-1], interpolation=_OF_OPENCV[interpolation])
        out = out.reshape(*size, img.shape[2])  # OpenCV drops an axis of length 1
    if img.dtype != np.uint8:
        out = out.clip(img.min(axis=(0, 1)), img.max(axis=(0, 1)))
    return out


def as_size(size: int | tuple[int, int], name: str) -> tuple[int, int]:
    """(height, width) of a positive int or pair."""
    pair = (size, size) if isinstance(size, int) else tuple(size)
    if len(pair) != 2 or min(pair) < 1:
        raise ValueError(f'{name}: size is an int or (height, width), got {size!r}.')
    return pair


def check_interpolation(interpolation: str, name: str) -> str:
    """Return it if torchvision has such a mode, else raise ValueError."""
    modes = ('nearest', 'bilinear', 'bicubic')
    if interpolation not in modes:
        raise ValueError(
            f'{name}: interpolation must be one of {modes}, got {interpolation!r}.'
        )
    return interpolation


@TRANSFORMS.register_module()
class LoadImage:
    """Read ``img_path`` (or ``img_bytes``) into ``img``, unless ``img`` is there.

    The arguments are those of ``read_image``. A crop of a share s of an image whose
    shorter side is ``shortest`` has sides of about shortest * sqrt(s): 229 px if 512
    and a fifth.
    """

    def __init__(
        self, channels: str = 'RGB', fast: bool = False, shortest: int | None = None
    ) -> None:
        if channels not in CHANNELS:
            raise ValueError(
                f'LoadImage: channels must be one of {CHANNELS}, got {channels!r}.'
            )
        if shortest is not None and shortest < 1:
            raise ValueError(
                f'LoadImage: shortest must be 1 pixel or more, got {shortest}.'
            )
        self.channels, self.fast, self.shortest = channels, fast, shortest

    def __call__(self, results: dict) -> dict:
        if 'img' not in results:
            results['img'] = decode_image(
                content_of(results),
                results['img_path'],
                self.channels,
                self.fast,
                self.shortest,
            )
        return results


@TRANSFORMS.register_module()
class RandomResizedCrop:
    """Crop a random area and shape, resized to ``size``: MAE's only crop (2111.06377).

    The draw is torchvision's, number by number. ``single_draw`` is the variant of MAE's
    linear probe: one draw, sides cut to the image's. ``antialias=False`` is faster and
    rougher where a crop is large.
    """

    def __init__(
        self,
        size: int | tuple[int, int],
        scale: tuple[float, float] = (0.2, 1.0),
        ratio: tuple[float, float] = (3 / 4, 4 / 3),
        interpolation: str = 'bicubic',
        single_draw: bool = False,
        antialias: bool = True,
    ) -> None:
        for key, (low, high) in (('scale', scale), ('ratio', ratio)):
            if not 0 < low <= high:
                raise ValueError(
                    f'RandomResizedCrop: {key} must be 0 < low <= high, got '
                    f'({low}, {high}).'
                )
        self.size = as_size(size, 'RandomResizedCrop')
        self.scale, self.ratio = list(scale), list(ratio)
        self.interpolation = check_interpolation(interpolation, 'RandomResizedCrop')
        self.single_draw, self.antialias = single_draw, antialias

    def __call__(self, results: dict) -> dict:
        img = results['img']
        top, left, height, width = self.draw(img.shape)
        crop = img[top : top + height, left : left + width]
        results['img'] = resize(crop, self.size, self.interpolation, self.antialias)
        return results

    def draw(self, shape: Sequence[int]) -> tuple[int, int, int, int]:
        """Draw top, left, height, width of the crop of an image (H, W, ...)."""
        drawn = single_draw_box if self.single_draw else random_box
        return drawn(shape[0], shape[1], self.scale, self.ratio)


def covering(shape: tuple[int, ...], size: tuple[int, int]) -> tuple[int, int]:
    """Height and width of an image (h, w) resized to just cover ``size``.

    The longer side is cut to an integer, as torchvision does.
    """
    (height, width), (h, w) = shape, size
    if h * width > w * height:
        return h, width * h // height
    return height * w // width, w


@TRANSFORMS.register_module()
class SimpleResizedCrop:
    """Resize until ``size`` is just covered, reflect the border, crop (2303.02416).

    PixMIM's crop, which keeps most of an image: for a square the shorter side becomes
    ``size``. Bilinear as there; 'bicubic' makes it that of DeiT III (2204.07118).
    """

    def __init__(
        self,
        size: int | tuple[int, int],
        padding: int = 4,
        interpolation: str = 'bilinear',
    ) -> None:
        self.size = as_size(size, 'SimpleResizedCrop')
        if not 0 <= padding < min(self.size):
            raise ValueError(
                f'SimpleResizedCrop: padding must be in [0, {min(self.size)}), got '
                f'{padding}.'
            )
        self.padding = padding
        self.interpolation = check_interpolation(interpolation, 'SimpleResizedCrop')

    def __call__(self, results: dict) -> dict:
        (height, width), img = self.size, results['img']
        img = resize(img, covering(img.shape[:2], self.size), self.interpolation)
        border = (self.padding, self.padding)
        img = np.pad(img, (border, border, (0, 0)), mode='reflect')
        top = int(torch.randint(img.shape[0] - height + 1, ()))
        left = int(torch.randint(img.shape[1] - width + 1, ()))
        crop = img[top : top + height, left : left + width]
        results['img'] = np.ascontiguousarray(crop)
        return results


@TRANSFORMS.register_module()
class RandomFlip:
    """Mirror left and right with probability ``prob``."""

    def __init__(self, prob: float = 0.5) -> None:
        if not 0 <= prob <= 1:
            raise ValueError(f'RandomFlip: prob must be in [0, 1], got {prob}.')
        self.prob = prob

    def __call__(self, results: dict) -> dict:
        if self.draw():
            results['img'] = flipped(results['img'])
        return results

    def draw(self) -> bool:
        """Draw whether to mirror."""
        return bool(torch.rand(()) < self.prob)


def flipped(img: np.ndarray) -> np.ndarray:
    """(H, W, C) mirrored left and right; OpenCV is fast, and knows few channels."""
    if img.shape[2] > 4:
        return torch.from_numpy(img).flip(1).numpy()
    return cv2.flip(img, 1).reshape(img.shape)  # OpenCV drops an axis of length 1


@TRANSFORMS.register_module()
class Resize:
    """Bring the shorter side to ``size``, keeping the aspect; (h, w) is taken as is."""

    def __init__(
        self, size: int | tuple[int, int], interpolation: str = 'bicubic'
    ) -> None:
        self.size, self.shorter = as_size(size, 'Resize'), isinstance(size, int)
        self.interpolation = check_interpolation(interpolation, 'Resize')

    def __call__(self, results: dict) -> dict:
        img, size = results['img'], self.size
        if self.shorter:
            size = covering(img.shape[:2], size)
        results['img'] = resize(img, size, self.interpolation)
        return results


@TRANSFORMS.register_module()
class CenterCrop:
    """Cut the middle; an image smaller than ``size`` is padded with zeros."""

    def __init__(self, size: int | tuple[int, int]) -> None:
        self.size = as_size(size, 'CenterCrop')

    def __call__(self, results: dict) -> dict:
        if results['img'].shape[:2] != self.size:
            middle = F.center_crop(to_tensor(results['img']), list(self.size))
            results['img'] = to_array(middle)
        return results


@TRANSFORMS.register_module()
class PackInputs:
    """End a pipeline: ``inputs`` (C, H, W), a view, and the facts a batch carries.

    Keeps ``sample_idx``, ``img_path`` and, when there, ``gt_label``, ``mask`` and the
    ``seed`` of the draw, from which the data preprocessor makes masks.
    """

    def __call__(self, results: dict) -> dict:
        return self.around(to_tensor(results['img']), results)

    def around(self, inputs: Any, results: dict) -> dict:
        """The facts of an image, with ``inputs`` as they are."""
        packed: dict[str, Any] = {
            'inputs': inputs,
            'sample_idx': int(results['sample_idx']),
            'img_path': results['img_path'],
        }
        for key in ('gt_label', 'seed'):
            if key in results:
                packed[key] = int(results[key])
        if 'mask' in results:
            packed['mask'] = torch.as_tensor(results['mask'], dtype=torch.bool)
        return packed
