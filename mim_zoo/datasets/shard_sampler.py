"""A shuffled order that has few shards in use at a time."""

from collections.abc import Iterator, Sized

import torch

from mim_zoo.registry import DATA_SAMPLERS

from .sampler import EpochSampler, draw_seed


@DATA_SAMPLERS.register_module()
class ShardSampler(EpochSampler):
    """EpochSampler in an order for disks that seek slowly and for network storage.

    An epoch takes the shards in a new order, ``shards_at_once`` of them at a time, and
    shuffles the images of those: a shard is read in one stretch of the epoch, then not
    again. The processes share the order, each taking every n-th image of it, so that
    their number changes neither it nor what is left when a run goes on. Images that lie
    together in a shard stay near each other in every epoch: pack them shuffled.
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
                f'ShardSampler: shards_at_once must be at least 1, got {shards_at_once}'
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
        shard = torch.from_numpy(self.dataset.shard_numbers()).long()  # (N,)
        turn = torch.randperm(int(shard.max()) + 1, generator=generator)  # (shards,)
        images = torch.randperm(len(shard), generator=generator)  # (N,)
        window = turn[shard[images]] // self.shards_at_once
        order = images[window.argsort(stable=True)]
        if self.round_up:  # the first ones again, to fill up the last batch of ranks
            order = order.repeat(-(-self.total_size // len(order)))
        return iter(order[self.rank : self.total_size : self.world_size].tolist())
