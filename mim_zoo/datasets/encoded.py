"""JPEGs that travel to the device as they are, and are decoded and cropped there.

On CUDA by torchvision's nvJPEG; on a CPU the same code runs, without gain.
"""

import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

import simplejpeg
import torch
from mmengine.logging import print_log
from torch import Tensor
from torchvision.io import ImageReadMode, decode_jpeg
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

from mim_zoo.registry import TRANSFORMS

from .image_io import UnreadableImageError, content_of, decode_image
from .jpeg import COLOURS, MAGIC, orientation
from .transforms import PackInputs, RandomFlip, RandomResizedCrop


class EncodedCrop(NamedTuple):
    """A JPEG (N,) uint8, and what is wanted of it.

    ``box`` is (top, left, height, width) in pixels, ``size`` (height, width) what it
    is resized to, ``flip`` whether left and right change sides then.
    """

    data: Tensor
    box: tuple[int, int, int, int]
    size: tuple[int, int]
    interpolation: str
    flip: bool


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
        inputs = EncodedCrop(
            results.pop('jpeg'),
            self.crop.draw(results.pop('shape')),
            self.crop.size,
            self.crop.interpolation,
            self.flip.draw(),
        )
        return self.pack.around(inputs, results)


def is_encoded(inputs: Any) -> bool:
    """Whether the images of a batch are for ``decode_crops``."""
    return not isinstance(inputs, Tensor) and any(
        isinstance(image, EncodedCrop) for image in inputs
    )


def decode_crops(
    crops: Sequence[EncodedCrop | Tensor], names: Sequence[str], device: torch.device
) -> Tensor:
    """The crops of a batch (B, 3, H, W) uint8 on the device; tensors stay as they are.

    A JPEG that is broken behind its header is not found before: another image of the
    batch stands in for it, and a warning names it, of ``names``. Raises
    UnreadableImageError if all are broken.
    """
    encoded = [crop.data for crop in crops if isinstance(crop, EncodedCrop)]
    images = iter(_decode(encoded, device))
    cut = [
        _cut(next(images), crop)
        if isinstance(crop, EncodedCrop)
        else crop.to(device, non_blocking=True)
        for crop in crops
    ]
    whole = next((image for image in cut if image is not None), None)
    if whole is None:
        raise UnreadableImageError(f'no JPEG of {", ".join(names)} can be decoded.')
    if broken := [name for name, image in zip(names, cut) if image is None]:
        text = f'another image of its batch stands in for {", ".join(broken)}'
        print_log(f'A JPEG is broken: {text}', 'current', level=logging.WARNING)
    return torch.stack([whole if image is None else image for image in cut])


def _decode(encoded: list[Tensor], device: torch.device) -> list[Tensor | None]:
    """Images (3, H, W), all at once or, if one is broken, one by one."""
    if not encoded:
        return []
    try:
        return decode_jpeg(encoded, mode=ImageReadMode.RGB, device=device)
    except RuntimeError:
        if len(encoded) == 1:
            return [None]
        return [_decode([data], device)[0] for data in encoded]


def _cut(image: Tensor | None, crop: EncodedCrop) -> Tensor | None:
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
