"""A sampler whose draws carry the seed of their own randomness."""

import contextlib
import hashlib
import random
from collections.abc import Iterator
from itertools import islice

import numpy as np
import torch
from mmengine.dataset import DefaultSampler
from torch.utils.data import get_worker_info

from mim_zoo.registry import DATA_SAMPLERS


class Draw(int):
    """An index with the ``seed`` of that one draw; arithmetic by wrappers keeps it."""

    seed: int

    def __new__(cls, index: int, seed: int) -> 'Draw':
        draw = super().__new__(cls, index)
        draw.seed = seed
        return draw

    def __reduce__(self) -> tuple:
        return Draw, (int(self), self.seed)

    def __mod__(self, other: int) -> 'Draw':  # RepeatDataset
        return Draw(int(self) % other, self.seed)

    def __sub__(self, other: int) -> 'Draw':  # ConcatDataset
        return Draw(int(self) - other, self.seed)


def draw_seed(seed: int, epoch: int, index: int) -> int:
    """63 well-mixed bits; equal on every machine."""
    text = f'{seed}/{epoch}/{index}'.encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), 'big') >> 1


@contextlib.contextmanager
def seeded(seed: int | None) -> Iterator[None]:
    """Run with torch's CPU generator, ``random`` and numpy seeded, then put them back.

    Restoring makes loading in the main process invisible to the training step; in a
    worker of a loader nobody else draws. None does nothing.
    """
    if seed is None:
        yield
        return
    states = None
    if get_worker_info() is None:
        states = torch.get_rng_state(), random.getstate(), np.random.get_state()
    torch.default_generator.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed % 2**32)
    try:
        yield
    finally:
        if states is not None:
            torch.set_rng_state(states[0])
            random.setstate(states[1])
            np.random.set_state(states[2])


@DATA_SAMPLERS.register_module()
class EpochSampler(DefaultSampler):
    """MMEngine's DefaultSampler, seeding each sample and able to start midway.

    Each item is a ``Draw`` whose seed depends on (seed, epoch, index) alone, so the
    number of workers or ranks changes no pixel. ``seed=None`` draws one and shares it
    among the ranks.
    """

    _start = 0

    def set_start(self, num_samples: int) -> None:
        """Skip this many of this rank's samples, in the next iteration only."""
        if not 0 <= num_samples <= len(self):
            raise ValueError(
                f'set_start expects 0 to {len(self)} samples (one epoch of this rank), '
                f'got {num_samples}; did the dataset or the batch size change since '
                'the checkpoint?'
            )
        self._start = num_samples

    def __iter__(self) -> Iterator[int]:
        start, self._start = self._start, 0
        seed, epoch = self.seed, self.epoch
        indices = islice(self._order(), start, None)
        return (Draw(index, draw_seed(seed, epoch, index)) for index in indices)

    def _order(self) -> Iterator[int]:
        """This rank's indices in this epoch, all of them."""
        return super().__iter__()
