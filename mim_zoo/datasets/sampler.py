"""Samplers whose draws carry the seed of their own randomness."""

import contextlib
import hashlib
import random
from collections.abc import Iterator, Sized
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


@DATA_SAMPLERS.register_module()
class ShardSampler(EpochSampler):
    """EpochSampler in an order for disks that seek slowly and for network storage.

    Every epoch takes the shards of a ``ShardedImages`` in a new order and spreads the
    images of each over the time of ``shards_at_once``, at random: so many shards are in
    use at any time, and a shard is read in one stretch of the epoch (those in use when
    it ends, at its beginning too). With all shards at once it is a plain shuffle. The
    processes share the order, each taking every n-th image of it, so that their number
    changes neither it nor what is left when a run goes on.
    """

    def __init__(
        self,
        dataset: Sized,
        shuffle: bool = True,
        seed: int | None = None,
        round_up: bool = True,
        shards_at_once: int = 16,
    ) -> None:
        if shards_at_once < 1:
            raise ValueError(
                'ShardSampler: shards_at_once must be at least 1, got '
                f'{shards_at_once}.'
            )
        if not hasattr(dataset, 'shard_numbers'):
            raise ValueError(
                'ShardSampler expects the data set ShardedImages (or its HeldOutSplit),'
                f" got {type(dataset).__name__}. Fix: sampler=dict(type='EpochSampler')"
            )
        super().__init__(dataset, shuffle, seed, round_up)
        self.shards_at_once = shards_at_once

    def _order(self) -> Iterator[int]:
        if not self.shuffle:
            return super()._order()
        generator = torch.Generator().manual_seed(draw_seed(self.seed, self.epoch, -1))
        numbers = self.dataset.shard_numbers()
        _, shard = np.unique(numbers, return_inverse=True)  # (N,) without gaps
        count = int(shard.max()) + 1
        turn = torch.randperm(count, generator=generator)[torch.from_numpy(shard)]
        spread = min(self.shards_at_once, count)
        chance = torch.rand(len(turn), generator=generator, dtype=torch.float64)
        # circular, so that the first shards are not alone at the beginning
        order = ((turn + spread * chance) % count).argsort(stable=True)  # (N,)
        if self.round_up:  # the first ones again, for ranks of one length
            order = order.repeat(-(-self.total_size // len(order)))
        return iter(order[self.rank : self.total_size : self.world_size].tolist())
