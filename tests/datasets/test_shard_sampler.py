"""ShardSampler: every image once, few shards at a time, however it is divided."""

from itertools import chain

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from mim_zoo.datasets import ImageFolder, ShardedImages, ShardSampler, collate_readable
from mim_zoo.datasets.shard_packing import pack_shards

SHARDS, IMAGES = 20, 30


class Numbers:
    """A data set of IMAGES in each of SHARDS, which all have another size."""

    def __init__(self, skipped: int = 0) -> None:
        counts = IMAGES + np.arange(SHARDS) - SHARDS // 2
        self.numbers = np.repeat(np.arange(SHARDS), counts)[skipped:]

    def __len__(self) -> int:
        return len(self.numbers)

    def shard_numbers(self) -> np.ndarray:
        return self.numbers


def sampler_of(dataset, rank=0, world_size=1, epoch=0, **given) -> ShardSampler:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            'mmengine.dataset.sampler.get_dist_info', lambda: (rank, world_size)
        )
        sampler = ShardSampler(dataset, **{'seed': 3, **given})
    sampler.set_epoch(epoch)
    return sampler


def order(*args, **given) -> list[int]:
    return list(sampler_of(*args, **given))


@pytest.mark.parametrize('at_once', [1, 4, 99])
@pytest.mark.parametrize('skipped', [0, 200])
def test_every_image_once(at_once: int, skipped: int) -> None:
    data = Numbers(skipped)
    first = order(data, shards_at_once=at_once)
    assert sorted(first) == list(range(len(data)))
    assert first == order(data, shards_at_once=at_once)
    second = order(data, shards_at_once=at_once, epoch=1)
    assert sorted(second) == sorted(first)
    apart = sum(a != b for a, b in zip(first, second))
    assert apart > 0.9 * len(data)
    assert first != order(data, shards_at_once=at_once, seed=4)


@pytest.mark.parametrize('at_once', [1, 4])
def test_few_shards_are_in_use_at_a_time(at_once: int) -> None:
    """Between the first and the last image of a shard, besides the circle's ends."""
    data = Numbers()
    shard = data.numbers[order(data, shards_at_once=at_once)]
    found = [np.flatnonzero(shard == number) for number in range(SHARDS)]
    stretches = [places.max() - places.min() for places in found]
    cut = sum(length > len(data) / 2 for length in stretches)
    assert cut <= at_once
    assert len(set(shard[: IMAGES // 2])) >= min(2, at_once)  # mixed from the start
    for place in range(len(data)):
        used = [p for p in found if p.min() <= place <= p.max()]
        assert len(used) - cut <= at_once


def test_all_shards_at_once_are_a_plain_shuffle() -> None:
    """Places of a shard's images are spread evenly over the epoch."""
    data = Numbers()
    places = np.empty((30, len(data)))
    for epoch in range(30):
        places[epoch, order(data, epoch=epoch, shards_at_once=SHARDS)] = np.linspace(
            0, 1, len(data)
        )
    spread = [places[:, data.numbers == n].std() for n in range(SHARDS)]
    assert np.allclose(spread, 12**-0.5, atol=0.03)
    one = [places[e, data.numbers == 0].mean() for e in range(30)]
    assert np.abs(np.array(one) - 0.5).max() < 0.3


def test_shards_of_which_a_subset_has_nothing_take_no_time() -> None:
    data, gaps = Numbers(), Numbers()
    gaps.numbers = data.numbers * 7 + 3
    assert order(gaps, shards_at_once=2) == order(data, shards_at_once=2)


def test_shards_come_in_another_order() -> None:
    data = Numbers()
    orders = [
        tuple(dict.fromkeys(data.numbers[order(data, epoch=e, shards_at_once=1)]))
        for e in range(5)
    ]
    assert len(set(orders)) == 5


@pytest.mark.parametrize('ranks', [2, 3, 7])
def test_ranks_share_an_epoch(ranks: int) -> None:
    data = Numbers()  # 590 images
    whole = order(data)
    parts = [order(data, rank, ranks) for rank in range(ranks)]
    assert len({len(part) for part in parts}) == 1
    joined = [image for step in zip(*parts) for image in step]
    assert joined[: len(data)] == whole
    assert joined[len(data) :] == whole[: len(joined) - len(data)]
    exact = [order(data, rank, ranks, round_up=False) for rank in range(ranks)]
    assert sorted(chain(*exact)) == sorted(whole)
    lengths = [len(sampler_of(data, r, ranks, round_up=False)) for r in range(ranks)]
    assert [len(part) for part in exact] == lengths


def test_fewer_images_than_ranks() -> None:
    data = Numbers(skipped=588)
    parts = [order(data, rank, 5) for rank in range(5)]
    assert [len(part) for part in parts] == [1] * 5
    assert set(chain(*parts)) == {0, 1}


def test_an_epoch_that_goes_on_with_other_ranks() -> None:
    data = Numbers()
    whole = order(data, epoch=2)
    rest = []
    for rank in range(2):
        sampler = sampler_of(data, rank, 2, epoch=2)
        sampler.set_start(100)
        rest.append(list(sampler))
    assert [image for step in zip(*rest) for image in step] == whole[200:]


def test_without_shuffling_it_is_the_order_of_the_shards() -> None:
    assert order(Numbers(), shuffle=False) == list(range(590))


@pytest.mark.parametrize('workers', [0, 1, 2])
def test_workers_change_nothing(tmp_path, workers: int) -> None:
    noise = np.random.default_rng(0)
    (tmp_path / 'images').mkdir()
    for name in range(40):
        image = noise.integers(0, 255, (9, 12, 3), np.uint8)
        Image.fromarray(image).save(tmp_path / f'images/{name}.png')
    pack_shards(ImageFolder(str(tmp_path / 'images')), tmp_path / 'shards', 4096)
    pipeline = [dict(type='LoadImage'), dict(type='RandomResizedCrop', size=8)]
    data = ShardedImages(
        str(tmp_path / 'shards'), pipeline=[*pipeline, dict(type='PackInputs')]
    )
    assert data.shard_numbers().max() > 4
    sampler = sampler_of(data, shards_at_once=2)
    expected = [(int(draw), data[draw]['inputs']) for draw in sampler]
    loader = DataLoader(
        data, 8, sampler=sampler, num_workers=workers, collate_fn=collate_readable
    )
    loaded = [
        (int(index), image)
        for batch in loader
        for index, image in zip(batch['sample_idx'], batch['inputs'])
    ]
    assert [index for index, _ in loaded] == [index for index, _ in expected]
    assert all(torch.equal(a, b) for (_, a), (_, b) in zip(loaded, expected))


def test_refused() -> None:
    with pytest.raises(ValueError, match='at least 1, got 0'):
        ShardSampler(Numbers(), shards_at_once=0)
    with pytest.raises(ValueError, match=r'got range. Fix: .*EpochSampler'):
        ShardSampler(range(9))
