"""Loading for training: files to batches that a GPU could take, by one worker process.

Legend: B images of a batch.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import Any

import cv2
import numpy as np
import torch
from mmengine.registry import init_default_scope
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms as T

from mim_zoo.cli import find_config
from mim_zoo.datasets import Draw, ImageFolder, collate_readable, seeded
from mim_zoo.datasets.transforms import as_size
from mim_zoo.engine.distributed import on_cpu
from mim_zoo.engine.memory import keep_freed_memory
from mim_zoo.models.units import IMAGENET_MEAN, IMAGENET_STD
from mim_zoo.options import checked_options
from mim_zoo.paths import read_config
from mim_zoo.registry import SCOPE

from .compare import Schedule, ratios, turns
from .workers import Worker

OFFICIAL = 'official'
STEPS = ['LoadImage', 'RandomResizedCrop', 'RandomFlip', 'PackInputs']
PREFETCHED = 2  # batches
# what is asked of the pipeline's steps, by their names
WISHES: dict[str, dict[str, dict[str, Any]]] = {
    'exact': {},
    'fast': {
        'LoadImage': dict(fast=True),
        'RandomResizedCrop': dict(interpolation='bilinear', antialias=False),
    },
}


@dataclass(frozen=True)
class Loading:
    """Who loads what: a backend, the pipeline of a config, the images of a folder."""

    name: str
    data_root: str
    pipeline: Sequence[Mapping[str, Any]]
    size: tuple[int, int]
    batch: int


def loading_of(
    config: str, name: str, data_root: str, batch: int, options: Mapping[str, Any]
) -> Loading:
    """The training pipeline of a config that says in our words what is official."""
    cfg = read_config(find_config(config))
    cfg.merge_from_dict(checked_options(cfg, options))
    dataset = cfg.get('train_dataloader', {}).get('dataset', {})
    pipeline = dataset.get('pipeline') or []
    kinds = [step['type'] for step in pipeline]
    if kinds != STEPS:
        raise ValueError(
            f'{config}: its train_dataloader.dataset.pipeline is {kinds}, expected '
            f'{STEPS}, which the official pipeline is compared with'
        )
    size = as_size(pipeline[1]['size'], 'RandomResizedCrop')
    return Loading(name, data_root, [dict(step) for step in pipeline], size, batch)


class OfficialImages(Dataset):
    """Pre-training data of MAE (2111.06377) as its recipe says, by PIL and torchvision.

    A whole decode, the crop with bicubic interpolation, a flip, floats, normalisation.
    """

    def __init__(self, files: Sequence[str], size: tuple[int, int]):
        self.files = files
        self.transform = T.Compose(
            [
                T.RandomResizedCrop(
                    size, scale=(0.2, 1.0), interpolation=T.InterpolationMode.BICUBIC
                ),
                T.RandomHorizontalFlip(),
                T.ToTensor(),
                T.Normalize(
                    *(np.divide(x, 255) for x in (IMAGENET_MEAN, IMAGENET_STD))
                ),
            ]
        )

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Tensor:
        with Image.open(self.files[index]) as image:
            return self.transform(image.convert('RGB'))


class Loader:
    """One worker that loads the images of a folder over and over."""

    def __init__(self, loading: Loading):
        init_default_scope(SCOPE)
        images = folder(loading)
        official = loading.name == OFFICIAL
        if not official and on_cpu():
            keep_freed_memory()  # as ZooRunner does
        self.count = len(images)
        self.batches = iter(
            DataLoader(
                OfficialImages(files_of(images), loading.size) if official else images,
                batch_sampler=endless(self.count, loading.batch),
                num_workers=1,
                prefetch_factor=PREFETCHED,
                collate_fn=None if official else collate_readable,
                worker_init_fn=single_threaded,
            )
        )

    def facts(self) -> dict[str, Any]:
        """Images of the folder, and what a batch is."""
        batch = next(self.batches)
        pixels = batch if isinstance(batch, Tensor) else batch['inputs']
        kind = str(pixels.dtype).removeprefix('torch.')
        return dict(images=self.count, batch_shape=list(pixels.shape), dtype=kind)

    def run(self, batches: int) -> float:
        """Seconds of a batch, of a worker that has nothing ready."""
        for _ in range(PREFETCHED + 1):
            next(self.batches)
        start = perf_counter()
        for _ in range(batches):
            next(self.batches)
        return (perf_counter() - start) / batches


def folder(loading: Loading) -> ImageFolder:
    """The images, through the pipeline as a backend wishes it."""
    pipeline = with_wishes(loading.pipeline, WISHES.get(loading.name, {}))
    return ImageFolder(loading.data_root, pipeline=pipeline)


def files_of(images: ImageFolder) -> list[str]:
    """Their paths."""
    return [images.get_data_info(i)['img_path'] for i in range(len(images))]


def with_wishes(
    pipeline: Sequence[Mapping[str, Any]], wishes: Mapping[str, Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """A pipeline whose steps got more arguments."""
    return [{**step, **wishes.get(step['type'], {})} for step in pipeline]


def endless(count: int, batch: int) -> Iterator[list[Draw]]:
    """Batches of draws, in order, for ever."""
    draws = (Draw(number % count, number) for number in itertools.count())
    while True:
        yield list(itertools.islice(draws, batch))


def single_threaded(_: int) -> None:
    """As MMEngine's runner starts its workers."""
    cv2.setNumThreads(0)


def pixel_difference(loading: Loading, images: int = 64) -> float:
    """Mean difference from the official pixels over the same crops, in 1/255."""
    ours, off = folder(loading), []
    theirs = OfficialImages(files_of(ours), loading.size)
    crop, flip = theirs.transform.transforms[:2]
    for i in range(min(images, len(ours))):
        with seeded(i), Image.open(theirs.files[i]) as image:
            expected = torch.from_numpy(np.array(flip(crop(image.convert('RGB')))))
        found = ours[Draw(i, i)]['inputs'].permute(1, 2, 0)
        off.append((found.float() - expected).abs().mean())
    return float(torch.stack(off).mean())


def compare_loaders(
    loadings: Sequence[Loading], schedule: Schedule
) -> list[dict[str, Any]]:
    """Measure them in turn; the last one is what the others are compared with."""
    with ExitStack() as stack:
        workers = [
            stack.enter_context(Worker(loading.name, Loader, loading))
            for loading in loadings
        ]
        facts = [worker.call('facts') for worker in workers]
        seconds: list[list[float]] = [[] for _ in workers]
        for turn in turns(schedule.pairs, len(workers)):
            for i in turn:
                seconds[i].append(workers[i].call('run', schedule.steps))
    return [
        dict(
            name=loading.name,
            **fact,
            seconds=times,
            images_per_second=loading.batch / median(times),
            speed_ratio=ratios(times, seconds[-1]),
            pixel_difference=None
            if loading.name == OFFICIAL
            else pixel_difference(loading),
        )
        for loading, fact, times in zip(loadings, facts, seconds)
    ]
