"""JPEGs that travel to the device as they are, and are decoded and cropped there.

On CUDA by torchvision's nvJPEG; on a CPU the same code runs, without gain.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import simplejpeg
import torch
from torch import Tensor
from torchvision.io import ImageReadMode, decode_jpeg
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

from mim_zoo.registry import TRANSFORMS

from .image_io import UnreadableImageError, content_of, decode_image
from .jpeg import COLOURS, MAGIC, orientation
from .transforms import PackInputs, RandomFlip, RandomResizedCrop


class Crop(NamedTuple):
    """What is wanted of an image.

    ``box`` is (top, left, height, width) in pixels, ``size`` (height, width) what it
    is resized to, ``flip`` whether left and right change sides then.
    """

    box: tuple[int, int, int, int]
    size: tuple[int, int]
    interpolation: str
    flip: bool


class EncodedCrop(NamedTuple):
    """A JPEG (N,) uint8 and what is wanted of it."""

    data: Tensor
    crop: Crop


@dataclass(frozen=True)
class EncodedBatch:
    """Images of a batch, some of them JPEGs; few tensors, whatever the batch.

    Each tensor that a worker hands over takes a descriptor of an open file.

    Args:
        data: all JPEGs, one after the other, (N,) uint8.
        lengths: of each, in bytes.
        crops: what is wanted of each image; None of one that is decoded.
        pixels: the decoded ones, (K, 3, H, W) uint8.
    """

    data: Tensor
    lengths: list[int]
    crops: list[Crop | None]
    pixels: Tensor | None

    @classmethod
    def of(cls, images: Sequence[EncodedCrop | Tensor]) -> EncodedBatch:
        """A batch of these."""
        encoded = [image for image in images if isinstance(image, EncodedCrop)]
        decoded = [image for image in images if isinstance(image, Tensor)]
        return cls(
            torch.cat([image.data for image in encoded]),
            [len(image.data) for image in encoded],
            [None if isinstance(image, Tensor) else image.crop for image in images],
            torch.stack(decoded) if decoded else None,
        )

    def __len__(self) -> int:
        return len(self.crops)

    def pin_memory(self) -> EncodedBatch:
        """For DataLoader, which asks for it."""
        pixels = None if self.pixels is None else self.pixels.pin_memory()
        return replace(self, data=self.data.pin_memory(), pixels=pixels)


@TRANSFORMS.register_module()
class ReadJpeg:
    """Read ``img_path`` undecoded, for ``CropOnDevice``: ``jpeg`` (N,), ``shape``.

    ``shape`` is (H, W). Anything else than an upright JPEG in colour or grey is decoded
    here into ``img`` (H, W, 3), as by ``LoadImage``. Raises UnreadableImageError.
    """

    def __call__(self, results: dict) -> dict:
        data = content_of(results)
        shape = _plain_shape(data)
        if shape is None:
            results['img'] = decode_image(data, results['img_path'])
        else:
            results['jpeg'] = torch.frombuffer(bytearray(data), dtype=torch.uint8)
            results['shape'] = shape
        return results


@TRANSFORMS.register_module()
class CropOnDevice:
    """End a pipeline that ``ReadJpeg`` began: RandomResizedCrop, RandomFlip, pack.

    The arguments are those of ``RandomResizedCrop``, and ``prob`` of ``RandomFlip``;
    the draws are theirs too, so that a seed gives the same crop.
    """

    def __init__(
        self,
        size: int | tuple[int, int],
        scale: tuple[float, float] = (0.2, 1.0),
        ratio: tuple[float, float] = (3 / 4, 4 / 3),
        interpolation: str = 'bicubic',
        prob: float = 0.5,
    ) -> None:
        self.crop = RandomResizedCrop(size, scale, ratio, interpolation)
        self.flip, self.pack = RandomFlip(prob), PackInputs()

    def __call__(self, results: dict) -> dict:
        if 'img' in results:
            return self.pack(self.flip(self.crop(results)))
        data = results.pop('jpeg')
        crop = Crop(
            self.crop.draw(results.pop('shape')),
            self.crop.size,
            self.crop.interpolation,
            self.flip.draw(),
        )
        return self.pack.around(EncodedCrop(data, crop), results)


def decode_crops(batch: EncodedBatch, device: torch.device) -> tuple[Tensor, list[int]]:
    """The images (B, 3, H, W) uint8 on the device, and which image is at each place.

    A JPEG that is broken behind its header is not found before: the first whole image
    of the batch stands in for it. Raises UnreadableImageError if all are broken.
    """
    files = iter(_decode(list(batch.data.split(batch.lengths)), device))
    pixels = () if batch.pixels is None else batch.pixels.to(device, non_blocking=True)
    ready = iter(pixels)
    images = (
        next(ready) if crop is None else _cut(next(files), crop) for crop in batch.crops
    )
    whole = {place: x for place, x in enumerate(images) if x is not None}
    if not whole:
        raise UnreadableImageError('no JPEG of the batch can be decoded')
    shown = [i if i in whole else min(whole) for i in range(len(batch))]
    return torch.stack([whole[i] for i in shown]), shown


def _decode(encoded: list[Tensor], device: torch.device) -> list[Tensor | None]:
    """Images (3, H, W), all at once or, if one is broken, one by one."""
    try:
        return decode_jpeg(encoded, mode=ImageReadMode.RGB, device=device)
    except RuntimeError:
        if len(encoded) == 1:
            return [None]
        return [_decode([data], device)[0] for data in encoded]


def _cut(image: Tensor | None, crop: Crop) -> Tensor | None:
    """(3, H, W) of the wanted size, of an image (3, H_in, W_in)."""
    if image is None:
        return None
    mode = InterpolationMode(crop.interpolation)
    box, size = crop.box, list(crop.size)
    cut = F.resized_crop(image, *box, size, mode, antialias=True)
    return cut.flip(-1) if crop.flip else cut


def _plain_shape(data: bytes) -> tuple[int, int] | None:
    """(H, W) of an upright JPEG in colour or grey, by its header alone."""
    if data[:3] != MAGIC:
        return None
    try:
        height, width, stored, _ = simplejpeg.decode_jpeg_header(data)
    except ValueError:
        return None
    if stored not in COLOURS or orientation(data) != 1:
        return None
    return height, width
