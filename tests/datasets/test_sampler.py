import pickle
import random

import numpy as np
import pytest
import torch
from mmengine.dataset import ConcatDataset, RepeatDataset
from torch.utils.data import DataLoader

from mim_zoo.datasets import Draw, EpochSampler, SamplePhotos, collate_readable, seeded
from mim_zoo.registry import DATA_SAMPLERS

PIPELINE = [
    dict(type='LoadImage'),
    dict(type='RandomResizedCrop', size=16),
    dict(type='RandomFlip'),
    dict(type='RandAugment'),
    dict(type='PackInputs'),
]


@pytest.fixture(scope='module')
def photos():
    return SamplePhotos(
        'val', stride=64, pictures=['astronaut', 'coffee'], pipeline=PIPELINE
    )


def sampler_of_rank(dataset, rank=0, world_size=1, **kwargs):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            'mmengine.dataset.sampler.get_dist_info', lambda: (rank, world_size)
        )
        return EpochSampler(dataset, seed=3, **kwargs)


def load(dataset, sampler, workers=0):
    """sample_idx -> pixels, in the order of loading."""
    batches = DataLoader(
        dataset, 4, sampler=sampler, num_workers=workers, collate_fn=collate_readable
    )
    return {
        int(index): image
        for batch in batches
        for index, image in zip(batch['sample_idx'], batch['inputs'])
    }


def same(left, right):
    return list(left) == list(right) and all(
        torch.equal(left[index], right[index]) for index in left
    )


def test_a_draw_is_an_int_with_a_seed():
    draw = pickle.loads(pickle.dumps(Draw(5, seed=11)))
    assert draw == 5 and draw.seed == 11
    assert (draw % 3, (draw % 3).seed, draw - 4, (draw - 4).seed) == (2, 11, 1, 11)


def test_seeds_differ_by_seed_epoch_and_index():
    sampler = EpochSampler(range(100), seed=0)
    seeds = {draw.seed for draw in sampler}
    sampler.set_epoch(1)
    seeds |= {draw.seed for draw in sampler}
    seeds |= {draw.seed for draw in EpochSampler(range(100), seed=1)}
    assert len(seeds) == 300
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_built_by_the_registry_with_a_shared_seed():
    cfg = dict(type='EpochSampler', dataset=range(9), seed=None)
    sampler = DATA_SAMPLERS.build(cfg)
    assert isinstance(sampler, EpochSampler) and isinstance(sampler.seed, int)


def test_order_and_length_are_default_samplers():
    sampler = sampler_of_rank(range(10), rank=1, world_size=4)
    assert len(sampler) == len(list(sampler)) == 3
    tail = sampler_of_rank(range(10), rank=3, world_size=4, round_up=False)
    assert len(tail) == len(list(tail)) == 2
    ranks = [sampler_of_rank(range(10), rank, 4, shuffle=False) for rank in range(4)]
    assert [list(r) for r in ranks] == [[0, 4, 8], [1, 5, 9], [2, 6, 0], [3, 7, 1]]


def test_worker_count_changes_nothing(photos):
    one = load(photos, EpochSampler(photos, seed=3))
    assert len(one) == len(photos) > 20
    assert same(one, load(photos, EpochSampler(photos, seed=3), workers=2))


def test_rank_layout_changes_nothing(photos):
    whole = load(photos, sampler_of_rank(photos))
    halves = [load(photos, sampler_of_rank(photos, rank, 2)) for rank in range(2)]
    joined = {**halves[0], **halves[1]}
    assert set(joined) == set(whole)
    assert all(torch.equal(joined[index], whole[index]) for index in whole)


def test_an_epoch_differs_from_the_next(photos):
    sampler = EpochSampler(photos, seed=3, shuffle=False)
    first = load(photos, sampler)
    sampler.set_epoch(1)
    second = load(photos, sampler)
    equal = sum(torch.equal(first[index], second[index]) for index in first)
    assert equal < len(first) // 10


@pytest.mark.parametrize('workers', [0, 2])
def test_set_start_gives_the_tail_once(photos, workers):
    sampler = sampler_of_rank(photos, 1, 2)
    sampler.set_epoch(4)
    whole = load(photos, sampler)
    sampler.set_start(8)
    tail = load(photos, sampler, workers)
    assert len(sampler) == len(whole) == len(tail) + 8
    assert same(tail, dict(list(whole.items())[8:]))
    assert same(load(photos, sampler), whole)


def test_set_start_beyond_the_epoch():
    sampler = EpochSampler(range(10), seed=0)
    sampler.set_start(10)
    assert list(sampler) == []
    with pytest.raises(ValueError, match=r'expects 0 to 10 .* got 11'):
        sampler.set_start(11)


def test_wrappers_keep_the_seed(photos):
    draw = Draw(5, seed=11)
    pixels = photos[draw]['inputs']
    assert torch.equal(photos[Draw(5, seed=11)]['inputs'], pixels)
    assert not torch.equal(photos[Draw(5, seed=12)]['inputs'], pixels)
    both = ConcatDataset([photos, photos])
    assert torch.equal(both[Draw(len(photos) + 5, 11)]['inputs'], pixels)
    twice = RepeatDataset(photos, 2)
    assert torch.equal(twice[Draw(len(photos) + 5, 11)]['inputs'], pixels)


def test_loading_leaves_the_callers_randomness_alone(photos):
    def numbers():
        return torch.rand(3).tolist(), random.random(), np.random.rand()

    with seeded(1):
        expected = numbers()
    with seeded(1):
        photos[Draw(0, seed=5)]
        assert numbers() == expected
