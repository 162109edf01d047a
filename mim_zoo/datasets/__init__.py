"""Data: images from anywhere, the pipeline's steps, the sampler."""

from .base import ImageDataset, TooManyUnreadableError
from .bundled import Digits, SamplePhotos
from .class_share import ClassShare
from .collate import collate_readable
from .colour import ColorJitter
from .corruptions import Corrupt
from .encoded import CropOnDevice, ReadJpeg
from .held_out import HeldOutSplit
from .image_folder import ImageFolder
from .image_io import UnreadableImageError, read_image
from .imagenet_subset import ImageNetSubset
from .masking import BlockMasking, MixedMasking, RandomMasking
from .rand_augment import RandAugment
from .repeat import RepeatedDraws
from .sampler import Draw, EpochSampler, ShardSampler, seeded
from .shards import ShardedImages
from .transforms import (
    CenterCrop,
    LoadImage,
    PackInputs,
    RandomFlip,
    RandomResizedCrop,
    Resize,
    SimpleResizedCrop,
)

__all__ = [
    'BlockMasking',
    'CenterCrop',
    'ClassShare',
    'ColorJitter',
    'Corrupt',
    'CropOnDevice',
    'Digits',
    'Draw',
    'EpochSampler',
    'HeldOutSplit',
    'ImageDataset',
    'ImageFolder',
    'ImageNetSubset',
    'LoadImage',
    'MixedMasking',
    'PackInputs',
    'RandAugment',
    'RandomFlip',
    'RandomMasking',
    'RandomResizedCrop',
    'ReadJpeg',
    'RepeatedDraws',
    'Resize',
    'SamplePhotos',
    'ShardSampler',
    'ShardedImages',
    'SimpleResizedCrop',
    'TooManyUnreadableError',
    'UnreadableImageError',
    'collate_readable',
    'read_image',
    'seeded',
]
