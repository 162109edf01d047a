"""Training over shards that is killed goes on with every image that is left, once."""

import json
import signal
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from test_distributed import PAIR
from toy_run import draws, start, train

from mim_zoo.datasets import ImageFolder
from mim_zoo.datasets.shard_packing import pack_shards

IMAGES = 24
HOOKS = [dict(type='ToyDraws'), dict(type='ToyRecorder')]


@pytest.fixture
def loader(tmp_path: Path) -> dict:
    """The config of a loader over 24 images in six shards, for the ToyModel."""
    noise = np.random.default_rng(0)
    (tmp_path / 'images').mkdir()
    for name in range(IMAGES):
        image = noise.normal(size=(2, 6)).astype(np.float32)
        np.save(tmp_path / f'images/{name}.npy', image)
    out = tmp_path / 'shards'
    packed = pack_shards(ImageFolder(str(tmp_path / 'images')), out, 4 * 1024)
    assert packed.shards == 6
    return dict(
        num_workers=0,
        dataset=dict(
            type='ShardedImages',
            data_root=str(out),
            pipeline=[
                dict(type='LoadImage'),
                dict(type='RandomFlip'),
                dict(type='PackInputs'),
            ],
        ),
        sampler=dict(type='ShardSampler', shards_at_once=2),
        collate_fn=dict(type='default_collate'),
    )


def written(folder: Path, rank: int = 0) -> list[tuple[int, int, list[str]]]:
    """Epoch, iteration and files of every batch that a process has drawn."""
    lines = (folder / f'draws_{rank}').read_text().splitlines()
    return [tuple(json.loads(line)) for line in lines]


def once_each(batches: list[list[str]]) -> bool:
    counts = Counter(path for batch in batches for path in batch)
    return len(counts) == IMAGES and set(counts.values()) == {1}


@pytest.mark.slow
@pytest.mark.parametrize('workers', [0, 2])
def test_kill_9_in_the_middle_of_an_epoch(tmp_path, loader, workers) -> None:
    loader |= dict(batch_size=4, num_workers=workers)
    given = dict(train_dataloader=loader, interval=3)
    killing = [HOOKS[0], dict(type='ToyRecorder', at=11)]
    killed = start(tmp_path / 'b', custom_hooks=killing, **given)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    before = written(tmp_path / 'b')
    assert [line[1] for line in before] == list(range(11))
    (tmp_path / 'b' / 'draws_0').unlink()
    resumed = train(tmp_path / 'b', custom_hooks=HOOKS, resume=True, **given)
    after = written(tmp_path / 'b')
    # the last checkpoint is of iteration 9, the third of the second epoch
    assert [line[1] for line in after] == [9, 10, 11]
    lines = before[:9] + after
    assert [line[0] for line in lines] == [0] * 6 + [1] * 6
    assert once_each([line[2] for line in lines[:6]])
    assert once_each([line[2] for line in lines[6:]])
    loader |= dict(num_workers=0)
    whole = train(tmp_path / 'a', **given)
    assert draws(whole)[9:] == draws(resumed)
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name])


@pytest.mark.slow
def test_two_processes_stop_and_one_goes_on(tmp_path, loader) -> None:
    loader |= dict(batch_size=2)
    given = dict(train_dataloader=loader, interval=2)
    stopping = [HOOKS[0], dict(type='ToyRecorder', at=11, action='raise')]
    pair = start(
        tmp_path / 'two', PAIR, custom_hooks=stopping, launcher='pytorch', **given
    )
    assert 'InterruptedError' in pair.stderr, pair.stderr[-3000:]
    lines = [written(tmp_path / 'two', rank) for rank in range(2)]
    first = [line[2] for part in lines for line in part if line[0] == 0]
    assert len(first) == 12 and once_each(first)
    assert lines[0][0][2] != lines[1][0][2]
    begun = [line[2] for part in lines for line in part if 6 <= line[1] < 10]
    (tmp_path / 'two' / 'draws_0').unlink()
    loader |= dict(batch_size=4)
    train(tmp_path / 'two', custom_hooks=HOOKS, resume=True, **given)
    rest = [line[2] for line in written(tmp_path / 'two')]
    assert len(begun) == 8 and len(rest) == 2
    assert once_each(begun + rest)
