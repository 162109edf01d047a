from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.dataset import ConcatDataset
from mmengine.logging import MMLogger
from PIL import Image
from torch.utils.data import DataLoader

from mim_zoo.datasets import (
    EpochSampler,
    ImageFolder,
    TooManyUnreadableError,
    collate_readable,
)
from mim_zoo.engine.hooks import UnreadableFilesHook

PIPELINE = [dict(type='LoadImage'), dict(type='PackInputs')]
BAD = (3, 4, 11)


@pytest.fixture
def root(tmp_path):
    """Twenty images whose pixels are their place; three are broken."""
    for place in range(20):
        path = tmp_path / 'images' / f'{place:02d}.png'
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(np.full((2, 2, 3), place, np.uint8)).save(path)
        if place in BAD:
            path.write_bytes(path.read_bytes()[:50])
    return tmp_path / 'images'


@pytest.fixture
def log(tmp_path):
    """Text of the log so far, as a user's log file has it."""
    name = f'unreadable-{tmp_path.name}'
    MMLogger.get_instance(name, log_file=str(tmp_path / 'run.log'))
    yield (tmp_path / 'run.log').read_text
    MMLogger._instance_dict.pop(name)


def loader(dataset, workers, shuffle=False, batch_size=5):
    return DataLoader(
        dataset,
        batch_size,
        sampler=EpochSampler(dataset, shuffle=shuffle, seed=0),
        num_workers=workers,
        collate_fn=collate_readable,
        persistent_workers=workers > 0,
    )


def values(batches):
    return torch.cat([batch['inputs'][:, 0, 0, 0] for batch in batches if batch])


def bad_names(root):
    return [str(root / f'{place:02d}.png') for place in BAD]


@pytest.mark.parametrize('workers', [0, 2])
def test_training_replaces_and_warns_once_per_file(root, log, workers):
    dataset = ImageFolder(str(root), pipeline=PIPELINE, max_unreadable=0.15)
    batches = loader(dataset, workers)
    for _ in range(3):
        seen = values(batches).tolist()
        assert seen == [5 if n in (3, 4) else 12 if n == 11 else n for n in range(20)]
    assert dataset.unreadable_files() == bad_names(root)
    assert log().count('Skipped an unreadable file') == 3
    for name in bad_names(root):
        assert log().count(name) == 1


@pytest.mark.parametrize('workers', [0, 2])
def test_testing_leaves_them_out(root, workers):
    dataset = ImageFolder(
        str(root), pipeline=PIPELINE, test_mode=True, max_unreadable=0.15
    )
    batches = list(loader(dataset, workers))
    assert values(batches).tolist() == [n for n in range(20) if n not in BAD]
    assert [len(batch['inputs']) for batch in batches] == [3, 5, 4, 5]
    assert dataset[3] is None
    assert list(loader(dataset, workers, batch_size=1))[3] == {}


# After an error torch waits five seconds per worker, so workers appear only once.
@pytest.mark.parametrize('test_mode, workers', [(False, 0), (True, 0), (False, 1)])
def test_too_many_stop_the_run_and_are_listed(root, test_mode, workers):
    dataset = ImageFolder(
        str(root), pipeline=PIPELINE, test_mode=test_mode, max_unreadable=0.1
    )
    with pytest.raises(TooManyUnreadableError, match='3 of 20 files') as caught:
        values(loader(dataset, workers))
    for name in bad_names(root):
        assert name in str(caught.value)


def test_the_default_share_is_one_percent(root):
    dataset = ImageFolder(str(root), pipeline=PIPELINE)
    with pytest.raises(TooManyUnreadableError, match=r'1 of 20 .*=0.01 allows 0'):
        dataset[3]


def test_a_small_part_may_lose_what_the_whole_may(root):
    whole = ImageFolder(str(root), pipeline=PIPELINE, max_unreadable=0.06)
    part = whole.get_subset([1, 2, 3, 4])
    assert part[2]['img_path'].endswith('01.png')
    with pytest.raises(TooManyUnreadableError, match=r'2 of 4 .* allows 1'):
        part[3]
    strict = ImageFolder(str(root), pipeline=PIPELINE, max_unreadable=0.04)
    with pytest.raises(TooManyUnreadableError, match=r'1 of 4 .* allows 0'):
        strict.get_subset([1, 2, 3, 4])[2]


def test_nothing_readable_ends(root):
    for path in root.iterdir():
        path.write_bytes(b'')
    dataset = ImageFolder(str(root), pipeline=PIPELINE, max_unreadable=1)
    with pytest.raises(TooManyUnreadableError, match='none of the 20'):
        dataset[0]


def test_a_missing_listed_file_counts_as_unreadable(root):
    (root / 'list.txt').write_text('00.png\n99.png\n')
    dataset = ImageFolder(str(root), 'list.txt', pipeline=PIPELINE, max_unreadable=0.5)
    assert dataset[1]['inputs'].max() == 0
    assert dataset.unreadable_files() == [str(root / '99.png')]


def test_an_error_of_the_user_is_not_skipped(root):
    np.save(root / '20.npy', np.zeros((2, 2, 13), np.uint8))
    dataset = ImageFolder(str(root), pipeline=PIPELINE, max_unreadable=1)
    with pytest.raises(ValueError, match='13'):
        dataset[20]


@pytest.mark.parametrize('workers', [0, 2])
@pytest.mark.parametrize('which', ['train', 'val', 'test'])
def test_hook_counts_and_names_at_the_end_of_an_epoch(root, log, workers, which):
    dataset = ImageFolder(str(root), pipeline=PIPELINE, max_unreadable=0.15)
    batches = loader(ConcatDataset([dataset]), workers)
    loop = SimpleNamespace(dataloader=batches)
    runner = SimpleNamespace(train_loop=loop, val_loop=loop, test_loop=loop)
    report = getattr(UnreadableFilesHook(), f'after_{which}_epoch')
    report(runner)
    assert 'could not be read' not in log()
    values(batches)
    report(runner)
    text = log().split('3 of 20 ')[1]
    assert all(name in text for name in bad_names(root))
    dataset.max_unreadable = 0.1  # as if the ranks lost more together than each alone
    with pytest.raises(TooManyUnreadableError, match='3 of 20'):
        report(runner)


def test_images_of_two_kinds_in_a_batch_are_named(root):
    Image.fromarray(np.zeros((3, 2, 3), np.uint8)).save(root / '01.png')
    np.save(root / '21.npy', np.zeros((2, 2, 3), np.float32))
    dataset = ImageFolder(str(root), pipeline=PIPELINE)
    for other, kind, fix in (
        (1, '3, 3, 2', 'fixed size'),
        (20, 'float32', 'folders of their own'),
    ):
        with pytest.raises(ValueError, match=rf'(?s){kind}.*{fix}'):
            collate_readable([dataset[0], None, dataset[other]])
