"""Several draws of an image that is decoded once."""

from pathlib import Path

import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_image
from torch.utils.data import DataLoader

from mim_zoo.datasets import (
    EpochSampler,
    ImageFolder,
    RepeatedDraws,
    collate_readable,
    transforms,
)

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
