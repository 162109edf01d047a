"""Real images that come with the dependencies: pre-training and a test offline."""

from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from mim_zoo.registry import DATASETS

from .base import ImageDataset
from .image_io import read_image

SKIMAGE_FILES = {
    'astronaut': 'astronaut.png',
    'brick': 'brick.png',
    'camera': 'camera.png',
    'cell': 'cell.png',
    'chelsea': 'chelsea.png',
    'coffee': 'coffee.png',
    'coins': 'coins.png',
    'grass': 'grass.png',
    'gravel': 'gravel.png',
    'hubble': 'hubble_deep_field.jpg',
    'ihc': 'ihc.png',
    'moon': 'moon.png',
    'motorcycle': 'motorcycle_left.png',
    'page': 'page.png',
    'retina': 'retina.jpg',
    'rocket': 'rocket.jpg',
}
SKLEARN_FILES = {'china': 'china.jpg', 'flower': 'flower.jpg'}
DEFAULT_PICTURES = (
    *('astronaut', 'brick', 'camera', 'chelsea', 'china', 'coffee', 'coins'),
    *('flower', 'grass', 'gravel', 'ihc', 'motorcycle', 'rocket'),
)
HELD_OUT = 0.3


def _check_split(split: str) -> None:
    if split not in ('train', 'val'):
        raise ValueError(f"split must be 'train' or 'val', got {split!r}.")


@DATASETS.register_module()
class SamplePhotos(ImageDataset):
    """Windows of the photographs inside scikit-image and scikit-learn (no download).

    The right 30% of every picture is held out as ``split='val'``; no window crosses
    that border. The label is the picture. Windows are ``window`` pixels square, every
    ``stride`` pixels and flush with the far edges: by default 96 at a stride of 16,
    6,008 to train on and 1,753 held out; a crop of scale (0.2, 1) to 32 pixels shows
    them at a third to three quarters of their resolution. Grey pictures have 3 equal
    channels.
    """

    def __init__(
        self,
        split: str = 'train',
        window: int = 96,
        stride: int = 16,
        pictures: Sequence[str] = DEFAULT_PICTURES,
        **kwargs: Any,
    ) -> None:
        _check_split(split)
        if window < 1 or stride < 1:
            raise ValueError(
                f'window and stride must be positive, got {window} and {stride}.'
            )
        self.split, self.window, self.stride = split, window, stride
        self.pictures = {name: read_image(_picture_path(name)) for name in pictures}
        metainfo = {'classes': tuple(pictures), **(kwargs.pop('metainfo', None) or {})}
        super().__init__(metainfo=metainfo, **kwargs)

    def load_data_list(self) -> list[dict]:
        """List every window as ``box`` = (top, bottom, left, right) of a picture."""
        items = []
        for label, (name, picture) in enumerate(self.pictures.items()):
            for box in self._boxes(name, *picture.shape[:2]):
                top, bottom, left, right = box
                path = f'{name}[{top}:{bottom}, {left}:{right}]'
                items.append({'img_path': path, 'gt_label': label, 'box': box})
        return items

    def _boxes(self, name: str, height: int, width: int) -> Iterator[tuple]:
        border = round(width * (1 - HELD_OUT))
        left, right = (0, border) if self.split == 'train' else (border, width)
        if self.window > min(height, right - left):
            raise ValueError(
                f'SamplePhotos: window={self.window} does not fit the {self.split} '
                f'part of {name}, {height} x {right - left} pixels. Fix: a smaller '
                'window, or pictures=[...] without it.'
            )
        for y in self._starts(0, height):
            for x in self._starts(left, right):
                yield y, y + self.window, x, x + self.window

    def _starts(self, first: int, end: int) -> list[int]:
        last = end - self.window
        return sorted({*range(first, last, self.stride), last})

    def get_data_info(self, idx: int) -> dict:
        """Give the window's entry with its pixels, ``img`` (window, window, 3)."""
        info = super().get_data_info(idx)
        top, bottom, left, right = info.pop('box')
        picture = self.pictures[self.metainfo['classes'][info['gt_label']]]
        return {**info, 'img': picture[top:bottom, left:right]}


@DATASETS.register_module()
class Digits(ImageDataset):
    """scikit-learn's 1,797 scans of handwritten digits, 8 x 8, scaled to 0..255.

    Of each digit, in scikit-learn's order, every fifth image is ``split='val'`` (355)
    and the others ``'train'`` (1,442): fixed and stratified. ``channels`` is 3 (equal
    ones) or 1.
    """

    METAINFO = {'classes': tuple('0123456789')}

    def __init__(self, split: str = 'train', channels: int = 3, **kwargs: Any) -> None:
        _check_split(split)
        if channels not in (1, 3):
            raise ValueError(f'Digits: channels must be 1 or 3, got {channels}.')
        self.split, self.channels = split, channels
        super().__init__(**kwargs)

    def load_data_list(self) -> list[dict]:
        """List the split's images by their place in scikit-learn's array."""
        from sklearn.datasets import load_digits

        scans = load_digits()
        # Values are 0..16.
        self.scans = np.rint(scans.images * (255 / 16)).astype(np.uint8)
        seen = [0] * 10
        items = []
        for place, label in enumerate(scans.target.tolist()):
            seen[label] += 1
            if (seen[label] % 5 == 0) == (self.split == 'val'):
                items.append({'img_path': f'digits[{place}]', 'gt_label': label})
                items[-1]['place'] = place
        return items

    def get_data_info(self, idx: int) -> dict:
        """Give the scan's entry with its pixels, ``img`` (8, 8, channels)."""
        info = super().get_data_info(idx)
        scan = self.scans[info.pop('place')]
        return {**info, 'img': scan[..., None].repeat(self.channels, axis=2)}


def _picture_path(name: str) -> Path:
    """Path inside the package, found without importing it."""
    for package, folder, files in (
        ('skimage', 'data', SKIMAGE_FILES),
        ('sklearn', 'datasets/images', SKLEARN_FILES),
    ):
        if name in files:
            spec = find_spec(package)
            if spec is None or spec.origin is None:
                raise ValueError(f'SamplePhotos: {name} needs {package} installed.')
            return Path(spec.origin).parent / folder / files[name]
    raise ValueError(
        f'SamplePhotos: no picture {name!r}; choose from '
        f'{", ".join(sorted({**SKIMAGE_FILES, **SKLEARN_FILES}))}.'
    )
