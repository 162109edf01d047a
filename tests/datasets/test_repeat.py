"""Several draws of an image that is decoded once."""

from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest
import torch
from mmengine.dataset import ConcatDataset
from mmengine.optim import OptimWrapper
from PIL import Image
from sklearn.datasets import load_sample_image
from torch.utils.data import DataLoader, Subset

from mim_zoo.datasets import (
    EpochSampler,
    ImageFolder,
    RepeatedDraws,
    collate_readable,
    transforms,
)
from mim_zoo.engine.rates import scale_rates

LOAD = dict(type='LoadImage')
REST = [
    dict(type='RandomResizedCrop', size=16),
    dict(type='RandomFlip'),
    dict(type='PackInputs'),
]


@pytest.fixture
def root(tmp_path) -> Path:
    photo = load_sample_image('china.jpg')
    for i in range(4):
        image = Image.fromarray(photo[40 * i : 40 * i + 100, :120])
        image.save(tmp_path / f'{i}.png')
    return tmp_path


def batches(root: Path, pipeline: list[dict], workers: int = 0) -> list[dict]:
    images = ImageFolder(str(root), pipeline=pipeline)
    sampler = EpochSampler(images, shuffle=True, seed=0)
    loader = DataLoader(
        images, 2, sampler=sampler, num_workers=workers, collate_fn=collate_readable
    )
    return list(loader)


def repeated(times: int) -> list[dict]:
    return [LOAD, dict(type='RepeatedDraws', times=times, transforms=REST)]


def test_every_draw_is_another_of_one_image(root, monkeypatch) -> None:
    decoded = []
    decode = transforms.decode_image
    monkeypatch.setattr(
        transforms, 'decode_image', lambda *args: decoded.append(1) or decode(*args)
    )
    found = batches(root, repeated(3))
    assert len(decoded) == 4 and len(found) == 2
    for batch in found:
        assert batch['inputs'].shape == (6, 3, 16, 16)
        index = batch['sample_idx'].view(2, 3)
        assert (index == index[:, :1]).all() and index[0, 0] != index[1, 0]
        assert len(set(batch['seed'].tolist())) == 6  # masks of their own
        assert len({image.numpy().tobytes() for image in batch['inputs']}) == 6


def test_the_first_draw_is_that_without_repetition(root) -> None:
    for once, often in zip(batches(root, [LOAD, *REST]), batches(root, repeated(2))):
        assert torch.equal(once['inputs'], often['inputs'][::2])
        assert torch.equal(once['seed'], often['seed'][::2])


def test_workers_change_nothing(root) -> None:
    for one, other in zip(batches(root, repeated(2)), batches(root, repeated(2), 2)):
        assert torch.equal(one['inputs'], other['inputs'])


def test_an_image_that_cannot_be_read_is_replaced(root) -> None:
    (root / '1.png').write_bytes(b'no image')
    images = ImageFolder(str(root), pipeline=repeated(2), max_unreadable=0.5)
    assert [item['sample_idx'] for item in images[1]] == [2, 2]


def test_how_often() -> None:
    with pytest.raises(ValueError, match='times must be 1 or more, got 0'):
        RepeatedDraws(0, REST)


def test_the_learning_rate_is_for_what_the_model_sees(root) -> None:
    images = ImageFolder(str(root), pipeline=repeated(4))
    loader = DataLoader(Subset(images, range(4)), 2)
    group, words = dict(lr=1.0), []
    wrapper = MagicMock(spec=OptimWrapper, _accumulative_counts=1, param_groups=[group])
    runner = SimpleNamespace(
        train_dataloader=loader,
        optim_wrapper=wrapper,
        world_size=1,
        logger=SimpleNamespace(info=words.append),
    )
    scale_rates(runner, 16)
    assert group['lr'] == 0.5
    assert 'effective batch 8 = 1 processes x 2 x 4 draws' in words[0]
    runner.train_dataloader = DataLoader(ConcatDataset([images, images]), 2)
    scale_rates(runner, 16)
    assert group['lr'] == 0.25
    once = ImageFolder(str(root), pipeline=repeated(1))
    runner.train_dataloader = DataLoader(ConcatDataset([images, once]), 2)
    with pytest.raises(ValueError, match=r'draw \[1, 4\] times from an image'):
        scale_rates(runner, 16)
