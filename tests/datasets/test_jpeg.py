"""JPEG files give Pillow's pixels, or an approximation when one is asked for."""

import io

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_image

from mim_zoo.datasets import UnreadableImageError, jpeg, read_image
from mim_zoo.datasets.encoded import ReadJpeg

PHOTO = load_sample_image('china.jpg')[:203, :301]


def write(path, image=PHOTO, **options):
    Image.fromarray(image).save(path, 'JPEG', **options)
    return path


def by_pillow(path):
    with Image.open(path) as picture:
        return np.asarray(picture.convert('RGB'))


@pytest.mark.parametrize('progressive', [False, True])
@pytest.mark.parametrize(
    'options',
    [
        dict(subsampling='4:4:4'),
        dict(subsampling='4:2:2'),
        dict(subsampling='4:2:0'),
        dict(keep_rgb=True),
    ],
)
def test_the_same_pixels_as_pillow(tmp_path, monkeypatch, progressive, options):
    path = write(tmp_path / 'a.jpg', quality=80, progressive=progressive, **options)
    expected = by_pillow(path)
    monkeypatch.setattr(Image, 'open', None)  # not needed
    image = read_image(path)
    assert np.array_equal(image, expected) and image.flags.writeable


def test_grey_stays_grey(tmp_path):
    path = write(tmp_path / 'a.jpg', PHOTO[..., 1])
    assert read_image(path, 'unchanged').shape == (203, 301, 1)
    assert np.array_equal(read_image(path), by_pillow(path))


def test_what_is_left_to_pillow(tmp_path):
    Image.fromarray(PHOTO).convert('CMYK').save(tmp_path / 'cmyk.jpg')
    data = write(tmp_path / 'whole.jpg').read_bytes()
    extra = data[:-2] + bytes(30) + data[-2:]  # bytes that nobody reads
    for name, content in (('extra', extra), ('tail', data + b'more')):
        (tmp_path / name).write_bytes(content)
    for name in ('cmyk.jpg', 'extra', 'tail'):
        path = tmp_path / name
        assert np.array_equal(read_image(path), by_pillow(path)), name
    assert jpeg.decode_jpeg((tmp_path / 'cmyk.jpg').read_bytes()) is None
    (tmp_path / 'half').write_bytes(data[: len(data) // 2])
    with pytest.raises(UnreadableImageError, match='half'):
        read_image(tmp_path / 'half')


@pytest.mark.parametrize('tag', [1, 3, 6, 8])
def test_upright(tmp_path, tag):
    exif = Image.Exif()
    exif[jpeg.ORIENTATION_TAG] = tag
    path = write(tmp_path / 'a.jpg', exif=exif)
    stored = by_pillow(path)
    turns = {1: 0, 3: 2, 6: 3, 8: 1}[tag]
    assert np.array_equal(read_image(path), np.rot90(stored, turns))
    small = read_image(path, shortest=100)
    assert (small.shape[0] > small.shape[1]) == (turns % 2 == 1)


@pytest.mark.parametrize('tags', [b'garbage' * 4, bytes(16), b'II'])
def test_broken_exif_turns_nothing(tmp_path, tags):
    path = write(tmp_path / 'a.jpg', exif=b'Exif\0\0' + tags, dpi=(72, 72))
    assert np.array_equal(read_image(path), by_pillow(path))
    found = ReadJpeg()({'img_path': str(path)})
    assert found['shape'] == by_pillow(path).shape[:2]


def test_fast_is_close(tmp_path):
    path = write(tmp_path / 'a.jpg', quality=90)
    off = np.abs(read_image(path, fast=True).astype(int) - by_pillow(path))
    assert 0 < off.mean() < 2


@pytest.mark.parametrize(
    ('shortest', 'shape'),
    [
        (1, (26, 38)),
        (60, (77, 113)),
        (102, (102, 151)),
        (203, (203, 301)),
        (900, (203, 301)),
    ],
)
def test_fewer_pixels_of_the_same_picture(tmp_path, shortest, shape):
    path = write(tmp_path / 'a.jpg', quality=95)
    image = read_image(path, shortest=shortest)
    assert image.shape[:2] == shape
    whole = Image.fromarray(by_pillow(path))
    expected = np.asarray(whole.resize(shape[::-1], Image.Resampling.BOX)).astype(int)
    assert np.abs(image - expected).mean() < 10  # another picture: 60


def test_wishes_are_for_jpeg(tmp_path):
    buffer = io.BytesIO()
    Image.fromarray(PHOTO).save(buffer, 'PNG')
    (tmp_path / 'a.jpg').write_bytes(buffer.getvalue())
    assert np.array_equal(read_image(tmp_path / 'a.jpg', 'RGB', True, 50), PHOTO)
