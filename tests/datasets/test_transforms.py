import math
import random

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms import RandomResizedCrop as OfficialCrop
from torchvision.transforms import functional as official

from mim_zoo.datasets import (
    CenterCrop,
    LoadImage,
    PackInputs,
    RandAugment,
    RandomFlip,
    RandomResizedCrop,
    Resize,
    SamplePhotos,
    SimpleResizedCrop,
    seeded,
)
from mim_zoo.datasets.boxes import random_box
from mim_zoo.datasets.transforms import resize, to_tensor

PHOTO = SamplePhotos(pictures=['astronaut']).pictures['astronaut']


def picture(height, width, channels=3, dtype=np.uint8):
    values = np.random.default_rng(0).integers(0, 255, (height, width, channels))
    return values.astype(dtype)


def run(transform, img, **more):
    return transform({'img': img, 'img_path': 'a.png', 'sample_idx': 0, **more})


@pytest.mark.parametrize('mode', ['bicubic', 'bilinear'])
@pytest.mark.parametrize('size', [(32, 32), (224, 224), (97, 301), (700, 600)])
def test_uint8_resize_is_pillows_to_one_level(mode, size):
    for img in (PHOTO, PHOTO[40:371, 200:560]):
        pillow = Image.fromarray(img).resize(size[::-1], Image.Resampling[mode.upper()])
        off = np.abs(resize(img, size, mode).astype(int) - np.asarray(pillow))
        assert off.max() <= 8
        assert (off > 1).mean() < 2e-4


@pytest.mark.parametrize('dtype', [np.uint8, np.float32])
@pytest.mark.parametrize('channels', [1, 2, 3, 4, 13])
def test_any_channel_count_and_dtype(channels, dtype):
    img = picture(40, 56, channels, dtype)
    for transform, shape in (
        (RandomResizedCrop(16), (16, 16)),
        (RandomResizedCrop((12, 20), single_draw=True), (12, 20)),
        (RandomResizedCrop((12, 20), antialias=False), (12, 20)),
        (Resize(20), (20, 28)),
        (Resize((24, 18), 'bilinear'), (24, 18)),
        (CenterCrop((30, 50)), (30, 50)),
        (CenterCrop(64), (64, 64)),
        (RandomFlip(1.0), (40, 56)),
    ):
        out = run(transform, img)['img']
        assert (out.shape, out.dtype) == ((*shape, channels), dtype)
        packed = run(PackInputs(), out)['inputs']
        assert np.array_equal(packed.permute(1, 2, 0), out)


def test_float_resize_adds_no_values_and_agrees_with_uint8():
    counts = np.where(picture(64, 64, 4) > 128, 60000, 0).astype(np.float32)
    out = resize(counts, (96, 96), 'bicubic')
    assert out.min() == 0 and out.max() == 60000
    muted = PHOTO // 2 + 60  # uint8 saturates nowhere
    muted[0, 0], muted[0, 1] = 0, 255  # ... but at the top, and float has its range
    off = resize(muted.astype(np.float32), (64, 64), 'bicubic') - resize(
        muted, (64, 64), 'bicubic'
    )
    assert np.abs(off[4:]).max() <= 1


@pytest.mark.parametrize('shape', [(120, 160), (60, 300)])
def test_crop_is_torchvisions(shape):
    img = PHOTO[: shape[0], 150 : 150 + shape[1]]
    crop = RandomResizedCrop(24)
    reference = OfficialCrop(24, (0.2, 1), interpolation=official.InterpolationMode(
        'bicubic'
    ))  # fmt: skip
    for seed in range(20):
        with seeded(seed):
            ours = run(crop, img)['img']
        with seeded(seed):
            theirs = np.asarray(reference(Image.fromarray(img)))
        assert np.abs(ours.astype(int) - theirs).max() <= 1


@pytest.mark.parametrize('shape', [(120, 160), (20, 300), (300, 20), (7, 7), (1, 1)])
@pytest.mark.parametrize('scale', [[0.2, 1], [0.9, 3]])
def test_boxes_are_torchvisions(shape, scale):
    for seed in range(200):
        torch.manual_seed(seed)
        ours = random_box(*shape, scale, [3 / 4, 4 / 3]), torch.rand(())
        torch.manual_seed(seed)
        theirs = OfficialCrop.get_params(torch.zeros(3, *shape), scale, [3 / 4, 4 / 3])
        assert ours == (theirs, torch.rand(()))


def test_crop_statistics():
    img = picture(100, 120)
    crop, single = RandomResizedCrop(8), RandomResizedCrop(8, (0.08, 1), single_draw=1)
    with seeded(0):
        boxes = np.array([crop.draw(img.shape) for _ in range(2000)])
        singles = np.array([single.draw(img.shape) for _ in range(2000)])
        official_boxes = [
            OfficialCrop.get_params(torch.zeros(3, 100, 120), [0.2, 1], [3 / 4, 4 / 3])
            for _ in range(2000)
        ]
    for sample in (boxes, singles):
        top, left, height, width = sample.T
        assert min(top.min(), left.min()) == 0 and min(height.min(), width.min()) > 0
        assert (top + height).max() == 100 and (left + width).max() == 120
    area, aspect = boxes[:, 2] * boxes[:, 3] / 12000, boxes[:, 3] / boxes[:, 2]
    assert 0.19 < area.min() < 0.22 and area.max() <= 1
    assert aspect.min() > 0.72 and aspect.max() < 1.37
    mean = np.mean([h * w / 12000 for _, _, h, w in official_boxes])
    assert area.mean() == pytest.approx(mean, abs=0.02)
    # One draw: a box that does not fit is cut, not drawn again.
    area = singles[:, 2] * singles[:, 3] / 12000
    assert 0.075 < area.min() < 0.1 and area.max() <= 1
    assert (singles[:, 2] == 100).mean() > 0.1
    free = area < 0.4  # nothing is cut there: area uniform, aspect log-uniform
    assert area[free].mean() == pytest.approx(0.24, abs=0.01)
    log_aspect = np.log(singles[free, 3] / singles[free, 2])
    assert log_aspect.mean() == pytest.approx(0, abs=0.03)
    assert log_aspect.std() == pytest.approx(2 * math.log(4 / 3) / 12**0.5, abs=0.01)


def test_without_antialiasing_stripes_stay():
    """Lines of a pixel: their mean with antialiasing, without it one or the other."""
    lines = np.zeros((128, 128, 3), np.uint8)
    lines[:, 1::8] = 255
    smooth = resize(lines, (32, 32), 'bilinear').std()
    rough = resize(lines, (32, 32), 'bilinear', antialias=False).std()
    assert rough > 1.2 * smooth
    crop = RandomResizedCrop(32, (1, 1), (1, 1), 'bilinear', antialias=False)
    assert run(crop, lines)['img'].std() == rough
    enlarged = [
        resize(PHOTO, (500, 800), 'bicubic', flag).astype(int) for flag in (0, 1)
    ]
    assert np.abs(enlarged[0] - enlarged[1]).mean() < 2


def test_wishes_for_jpeg_reach_the_file(tmp_path):
    Image.fromarray(PHOTO).save(tmp_path / 'a.jpg')
    small = LoadImage(shortest=50, fast=True)({'img_path': tmp_path / 'a.jpg'})['img']
    assert 50 <= min(small.shape[:2]) < min(PHOTO.shape[:2]) / 2
    with pytest.raises(ValueError, match='shortest must be 1 pixel or more, got 0'):
        LoadImage(shortest=0)


@pytest.mark.parametrize('channels', [1, 3, 4, 5, 600])
@pytest.mark.parametrize('dtype', [np.uint8, np.float32])
def test_flip(channels, dtype):
    img = np.random.default_rng(0).integers(0, 255, (4, 6, channels)).astype(dtype)
    flipped = run(RandomFlip(1.0), img)['img']
    assert flipped.dtype == dtype and np.array_equal(flipped, img[:, ::-1])


def test_half_of_all_images_are_flipped():
    img = picture(4, 6)
    with seeded(0):
        same = [run(RandomFlip(), img)['img'] is img for _ in range(400)]
    assert 0.4 < np.mean(same) < 0.6


def test_resize_and_center_crop_are_torchvisions():
    pillow = Image.fromarray(PHOTO[:301, :400])
    expected = official.center_crop(
        official.resize(pillow, 64, official.InterpolationMode.BICUBIC), 56
    )
    out = run(CenterCrop(56), run(Resize(64), PHOTO[:301, :400])['img'])['img']
    assert np.abs(out.astype(int) - np.asarray(expected)).max() <= 1


def test_randaugment_changes_images_and_follows_the_seeds():
    augment = RandAugment()
    outs = []
    for seed in (0, 0, 1, 2, 3, 4, 5):
        with seeded(seed):
            outs.append(run(augment, PHOTO)['img'])
    assert np.array_equal(outs[0], outs[1])
    assert sum(not np.array_equal(out, PHOTO) for out in outs[1:]) >= 3
    assert all((out.shape, out.dtype) == (PHOTO.shape, np.uint8) for out in outs)


def test_randaugment_uses_the_fill():
    random.seed(0)
    augment = RandAugment('rand-m9-p1-n1', fill=(255, 0, 255))
    black = np.zeros((32, 32, 3), np.uint8)
    outs = [run(augment, black)['img'] for _ in range(60)]
    assert any((out == (255, 0, 255)).all(-1).any() for out in outs)


def test_randaugment_needs_eight_bit_rgb():
    for img in (picture(8, 8, 1), picture(8, 8, 3, np.float32), picture(8, 8, 4)):
        with pytest.raises(ValueError, match=r'8-bit RGB, got .* a\.png'):
            run(RandAugment(), img)


@pytest.mark.parametrize('shape', [(40, 60), (61, 33), (24, 24), (9, 30)])
@pytest.mark.parametrize('interpolation', ['bilinear', 'bicubic'])
def test_simple_resized_crop_is_torchvision_s(shape, interpolation):
    img = picture(*shape)
    crop = SimpleResizedCrop(24, padding=4, interpolation=interpolation)
    resized = v2.Resize(24, InterpolationMode(interpolation))
    cut = v2.RandomCrop(24, padding=4, padding_mode='reflect')
    for seed in range(20):
        with seeded(seed):
            found = run(crop, img)['img']
        with seeded(seed):
            expected = cut(resized(to_tensor(img)))
        assert np.array_equal(found, expected.permute(1, 2, 0).numpy())
        assert found.flags.c_contiguous


@pytest.mark.parametrize('channels, dtype', [(1, np.uint8), (13, np.float32)])
def test_simple_resized_crop_of_any_image(channels, dtype):
    out = run(SimpleResizedCrop((16, 24)), picture(50, 30, channels, dtype))['img']
    assert out.shape == (16, 24, channels)
    assert out.dtype == dtype


def test_simple_resized_crop_reaches_everywhere():
    img = np.broadcast_to(np.arange(40, dtype=np.uint8)[None, :, None], (20, 40, 1))
    crop = SimpleResizedCrop(20, padding=2)
    lefts = [run(crop, np.ascontiguousarray(img))['img'][5, :, 0] for _ in range(300)]
    # reflected at both ends: 2 1 0 1 ... 38 39 38 37
    assert {tuple(row[:3]) for row in lefts} >= {(2, 1, 0), (0, 1, 2), (20, 21, 22)}
    assert any(tuple(row[-3:]) == (39, 38, 37) for row in lefts)


def test_load_image_leaves_a_ready_image_alone():
    img = picture(4, 4, 1)
    assert run(LoadImage(), img)['img'] is img


def test_pack_inputs():
    packed = run(PackInputs(), picture(4, 6), gt_label=np.int64(2), mask=np.eye(2)[0])
    assert packed['inputs'].shape == (3, 4, 6)
    assert type(packed['gt_label']) is int and packed['gt_label'] == 2
    assert packed['mask'].tolist() == [True, False]
    assert set(run(PackInputs(), picture(4, 6))) == {'inputs', 'sample_idx', 'img_path'}


@pytest.mark.parametrize(
    'build, match',
    [
        (lambda: RandomResizedCrop(0), 'size is an int'),
        (lambda: RandomResizedCrop(8, scale=(1, 0.2)), 'scale must be 0 < low'),
        (lambda: RandomResizedCrop(8, ratio=(0, 1)), 'ratio must be 0 < low'),
        (lambda: RandomResizedCrop(8, interpolation='cubic'), "got 'cubic'"),
        (lambda: Resize((1, 2, 3)), 'size is an int'),
        (lambda: CenterCrop(-1), 'size is an int'),
        (lambda: SimpleResizedCrop(0), 'size is an int'),
        (lambda: SimpleResizedCrop(8, padding=8), r'in \[0, 8\), got 8'),
        (lambda: SimpleResizedCrop(8, interpolation='x'), "got 'x'"),
        (lambda: RandomFlip(2), r'\[0, 1\], got 2'),
        (lambda: RandAugment('m9'), "got 'm9'"),
        (lambda: LoadImage('BGR'), "got 'BGR'"),
    ],
)
def test_wrong_options(build, match):
    with pytest.raises(ValueError, match=match):
        build()
