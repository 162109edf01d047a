"""Files of many bands and of more than 8 bits keep their values."""

import cv2
import numpy as np
import pytest
import tifffile

from mim_zoo.datasets import UnreadableImageError, read_image


def bands(count, dtype=np.uint16, height=10, width=12):
    values = np.arange(height * width * count).reshape(height, width, count)
    return (values * 37 % 65536).astype(dtype)


@pytest.mark.parametrize('count', [1, 3, 4])
def test_sixteen_bit_png_keeps_its_values(tmp_path, count):
    image = bands(count)
    stored = image[..., [2, 1, 0, 3][:count]] if count > 1 else image
    cv2.imwrite(str(tmp_path / 'a.png'), stored)
    out = read_image(tmp_path / 'a.png', 'unchanged')
    assert out.dtype == np.float32
    assert np.array_equal(out, image)


@pytest.mark.parametrize('count', [1, 3, 4, 13])
@pytest.mark.parametrize('planar', ['contig', 'separate', 'pages'])
@pytest.mark.parametrize('dtype', [np.uint8, np.uint16, np.int16, np.float32])
def test_tiff_bands(tmp_path, count, planar, dtype):
    image = bands(count, dtype)
    path = tmp_path / 'a.tif'
    if planar == 'pages':
        tifffile.imwrite(path, image.transpose(2, 0, 1), photometric='minisblack')
    else:
        stored = image if planar == 'contig' else image.transpose(2, 0, 1)
        if count == 1:
            stored, planar = image[..., 0], None
        tifffile.imwrite(
            path, stored, photometric='minisblack', planarconfig=planar, compression=8
        )
    out = read_image(path, 'unchanged')
    assert out.dtype == (np.uint8 if dtype == np.uint8 else np.float32)
    assert np.array_equal(out, image.astype(out.dtype))


def test_npy(tmp_path):
    np.save(tmp_path / 'a.npy', bands(13))
    np.save(tmp_path / 'b.npy', np.zeros((16, 24), np.uint8))
    np.save(tmp_path / 'c.npy', np.array([{'a': 1}], dtype=object))
    np.save(tmp_path / 'd.npy', np.zeros((2, 2, 2, 2)))
    assert np.array_equal(read_image(tmp_path / 'a.npy', 'unchanged'), bands(13))
    assert read_image(tmp_path / 'b.npy').shape == (16, 24, 3)
    for name in ('c.npy', 'd.npy'):
        with pytest.raises(UnreadableImageError, match=name):
            read_image(tmp_path / name)


def test_too_many_bands_for_rgb_is_the_users_error(tmp_path):
    np.save(tmp_path / 'a.npy', bands(13))
    with pytest.raises(ValueError, match=r"13.*channels='unchanged'") as caught:
        read_image(tmp_path / 'a.npy')
    assert not isinstance(caught.value, UnreadableImageError)
    with pytest.raises(ValueError, match="got 'BGR'"):
        read_image(tmp_path / 'a.npy', 'BGR')


@pytest.mark.parametrize('highest', [4095, 65535])
@pytest.mark.parametrize('kind', ['P5', 'P6'])
def test_deep_ppm_and_pgm_keep_their_values(tmp_path, kind, highest):
    image = bands(3 if kind == 'P6' else 1) // 20
    header = f'{kind}\n# a comment\n12 10\n{highest}\n'.encode()
    path = tmp_path / 'a.ppm'
    path.write_bytes(header + image.astype('>u2').tobytes())
    found = read_image(path, 'unchanged')
    assert found.dtype == np.float32 and np.array_equal(found, image)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(UnreadableImageError, match=path.name):
        read_image(path)


@pytest.mark.parametrize('count', [2, 4])
@pytest.mark.parametrize('kind', ['npy', 'tif', 'alpha.tif'])
def test_a_band_is_alpha_only_if_the_file_says_so(tmp_path, count, kind):
    image, path = bands(count, np.uint16), tmp_path / f'a.{kind}'
    if kind == 'npy':
        np.save(path, image)
    else:
        colour = 'rgb' if count == 4 else 'minisblack'
        extra = ['unassalpha' if kind == 'alpha.tif' else 'unspecified']
        tifffile.imwrite(path, image, photometric=colour, extrasamples=extra)
    assert np.array_equal(read_image(path, 'unchanged'), image)
    if kind == 'alpha.tif':
        assert np.array_equal(
            read_image(path),
            np.broadcast_to(image[..., : count - 1], (*image.shape[:2], 3)),
        )
        return
    for channels in ('RGB', 'grey'):
        with pytest.raises(ValueError, match=f'got {count} .*in_channels={count}'):
            read_image(path, channels)
