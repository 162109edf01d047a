import re

import numpy as np
import pytest
import torch

from mim_zoo.datasets import Digits, SamplePhotos
from mim_zoo.datasets.bundled import SKIMAGE_FILES, SKLEARN_FILES
from mim_zoo.registry import DATASETS

PIPELINE = [dict(type='LoadImage'), dict(type='PackInputs')]


def windows(dataset):
    """{picture: [(top, bottom, left, right)]}, from the paths a user sees."""
    found = {}
    for index in range(len(dataset)):
        path = dataset.get_data_info(index)['img_path']
        name, *box = re.fullmatch(r'(\w+)\[(\d+):(\d+), (\d+):(\d+)\]', path).groups()
        found.setdefault(name, []).append(tuple(map(int, box)))
    return found


def test_held_out_windows_share_no_pixel_with_training():
    train, val = SamplePhotos('train'), SamplePhotos('val')
    assert (len(train), len(val)) == (6008, 1753)
    seen, held_out = windows(train), windows(val)
    assert tuple(seen) == tuple(held_out) == train.CLASSES == val.CLASSES
    for name, picture in train.pictures.items():
        used = np.zeros((2, *picture.shape[:2]), bool)
        for split, boxes in enumerate((seen[name], held_out[name])):
            for top, bottom, left, right in boxes:
                assert bottom - top == right - left == 96
                used[split, top:bottom, left:right] = True
        assert not (used[0] & used[1]).any()
        assert used.any(0).all()  # every pixel is in one of them
        assert used[1].mean() == pytest.approx(0.3, abs=0.01)


def test_items_are_the_named_pixels():
    dataset = DATASETS.build(dict(type='SamplePhotos', split='val', pipeline=PIPELINE))
    item = dataset[1000]
    name, top, bottom, left, right = re.split(r'\W+', item['img_path'].strip(']'))
    pixels = dataset.pictures[name][int(top) : int(bottom), int(left) : int(right)]
    assert np.array_equal(item['inputs'].permute(1, 2, 0), pixels)
    assert set(item) == {'inputs', 'sample_idx', 'img_path', 'gt_label'}
    assert dataset.CLASSES[item['gt_label']] == name
    assert item['sample_idx'] == 1000


def test_every_offered_picture_is_there():
    names = (*SKIMAGE_FILES, *SKLEARN_FILES)
    dataset = SamplePhotos('val', window=32, stride=64, pictures=names)
    assert set(windows(dataset)) == set(names)
    assert all(picture.shape[2] == 3 for picture in dataset.pictures.values())


@pytest.mark.parametrize(
    'options, match',
    [
        ({'split': 'test'}, "'train' or 'val', got 'test'"),
        ({'window': 128, 'split': 'val'}, 'window=128 does not fit the val part of'),
        ({'stride': 0}, 'must be positive, got 96 and 0'),
        ({'pictures': ['lena']}, "no picture 'lena'; choose from astronaut"),
    ],
)
def test_photo_errors(options, match):
    with pytest.raises(ValueError, match=match):
        SamplePhotos(**options)


def test_digits():
    train, val = Digits('train', pipeline=PIPELINE), Digits('val', pipeline=PIPELINE)
    assert (len(train), len(val)) == (1442, 355)
    places = [
        {dataset.get_data_info(i)['img_path'] for i in range(len(dataset))}
        for dataset in (train, val)
    ]
    assert not places[0] & places[1] and len(places[0] | places[1]) == 1797
    counts = np.bincount([val.get_data_info(i)['gt_label'] for i in range(len(val))])
    assert len(counts) == 10 and counts.min() >= 34 and counts.max() <= 36
    images = torch.stack([train[i]['inputs'] for i in range(200)])
    assert images.shape == (200, 3, 8, 8) and images.dtype == torch.uint8
    assert (int(images.min()), int(images.max())) == (0, 255)
    assert torch.equal(images[:, 0], images[:, 2])
    assert Digits('val', 1, pipeline=PIPELINE)[0]['inputs'].shape == (1, 8, 8)
    assert tuple('0123456789') == val.CLASSES


def test_digit_errors():
    with pytest.raises(ValueError, match="got 'all'"):
        Digits('all')
    with pytest.raises(ValueError, match='1 or 3, got 2'):
        Digits(channels=2)
