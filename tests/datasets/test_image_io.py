import errno
import io
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from mim_zoo.datasets import UnreadableImageError, read_image

RED, GREEN, BLUE = (250, 10, 20), (10, 240, 30), (20, 30, 230)


def quarters(height=16, width=24):
    """Red, green over blue, black: every flip and channel swap shows."""
    image = np.zeros((height, width, 3), np.uint8)
    image[: height // 2, : width // 2] = RED
    image[: height // 2, width // 2 :] = GREEN
    image[height // 2 :, : width // 2] = BLUE
    return image


def assert_close(image, expected, tolerance):
    assert image.dtype == np.uint8
    assert image.shape == expected.shape
    assert np.abs(image.astype(int) - expected.astype(int)).mean() < tolerance


@pytest.mark.parametrize(
    'name, tolerance',
    [('a.png', 1e-6), ('a.bmp', 1e-6), ('a.jpg', 6), ('a.webp', 8), ('a.tif', 1e-6)],
)
def test_common_formats_are_rgb(tmp_path, name, tolerance):
    options = {'subsampling': 0} if name == 'a.jpg' else {}
    Image.fromarray(quarters()).save(tmp_path / name, quality=95, **options)
    assert_close(read_image(tmp_path / name), quarters(), tolerance)


def test_the_kind_is_told_by_content_not_by_name(tmp_path):
    Image.fromarray(quarters()).save(tmp_path / 'a.JPEG', format='PNG')
    assert_close(read_image(tmp_path / 'a.JPEG'), quarters(), 1e-6)


def test_grey(tmp_path):
    grey = quarters()[..., 1]
    Image.fromarray(grey).save(tmp_path / 'a.png')
    rgb = read_image(tmp_path / 'a.png')
    assert np.array_equal(rgb, np.stack([grey] * 3, -1))
    for channels in ('grey', 'unchanged'):
        image = read_image(tmp_path / 'a.png', channels)
        assert np.array_equal(image, grey[..., None])


def test_grey_from_rgb_matches_pillow(tmp_path):
    Image.fromarray(quarters()).save(tmp_path / 'a.png')
    grey = read_image(tmp_path / 'a.png', 'grey')
    assert_close(
        grey, np.asarray(Image.fromarray(quarters()).convert('L'))[..., None], 1
    )


def test_one_bit_picture_is_black_and_white(tmp_path):
    Image.fromarray(quarters()).convert('1').save(tmp_path / 'a.png')
    assert set(np.unique(read_image(tmp_path / 'a.png'))) <= {0, 255}


def test_palette_and_alpha(tmp_path):
    Image.fromarray(quarters()).convert('P', palette=Image.Palette.ADAPTIVE).save(
        tmp_path / 'palette.png', transparency=0
    )
    alpha = np.dstack([quarters(), np.full((16, 24), 7, np.uint8)])
    Image.fromarray(alpha).save(tmp_path / 'alpha.png')
    grey_alpha = np.dstack([quarters()[..., 0], alpha[..., 3]])
    Image.fromarray(grey_alpha).save(tmp_path / 'grey_alpha.png')
    assert_close(read_image(tmp_path / 'palette.png'), quarters(), 2)
    assert read_image(tmp_path / 'palette.png', 'unchanged').shape == (16, 24, 4)
    assert_close(read_image(tmp_path / 'alpha.png'), quarters(), 1e-6)
    assert np.array_equal(read_image(tmp_path / 'alpha.png', 'unchanged'), alpha)
    rgb = read_image(tmp_path / 'grey_alpha.png')
    assert np.array_equal(rgb, np.stack([grey_alpha[..., 0]] * 3, -1))


@pytest.mark.parametrize('name', ['a.jpg', 'a.tif'])
def test_cmyk_is_not_inverted(tmp_path, name):
    # Pillow writes CMYK JPEG as Adobe does: inverted, with Adobe's marker.
    Image.fromarray(quarters()).convert('CMYK').save(tmp_path / name, quality=95)
    if name == 'a.jpg':
        assert b'Adobe' in (tmp_path / name).read_bytes()
    for channels in ('RGB', 'unchanged'):
        assert_close(read_image(tmp_path / name, channels), quarters(), 12)


@pytest.mark.parametrize('tag', range(1, 9))
@pytest.mark.parametrize('name', ['a.jpg', 'a.png', 'b.png', 'a.tif', 'lzw.tif'])
def test_exif_orientation(tmp_path, name, tag):
    stored = quarters()
    # The file holds what the camera's sensor saw; undo each tag by hand.
    upright = {
        1: stored,
        2: stored[:, ::-1],
        3: stored[::-1, ::-1],
        4: stored[::-1],
        5: stored.transpose(1, 0, 2),
        6: np.rot90(stored, -1),
        7: np.rot90(stored, 2).transpose(1, 0, 2),
        8: np.rot90(stored, 1),
    }[tag]
    path = tmp_path / name
    if name == 'b.png':  # 16-bit
        deep = stored[..., ::-1].astype(np.uint16) * 257
        exif = Image.Exif()
        exif[274] = tag
        path.write_bytes(with_exif(cv2.imencode('.png', deep)[1].tobytes(), exif))
        assert np.array_equal(read_image(path), upright.astype(np.float32) * 257)
        return
    if name.endswith('.tif'):
        if name == 'lzw.tif':
            options = {'compression': 'tiff_lzw'}
            Image.fromarray(stored).save(path, tiffinfo={274: tag}, **options)
        else:
            extra = [(274, 'H', 1, tag, True)]
            tifffile.imwrite(path, stored, photometric='rgb', extratags=extra)
    else:
        exif = Image.Exif()
        exif[274] = tag
        Image.fromarray(stored).save(path, exif=exif, quality=95, subsampling=0)
    assert_close(read_image(path), upright, 6)


def with_exif(png, exif):
    """Put an eXIf chunk behind the header of a PNG."""
    import struct
    import zlib

    body = exif.tobytes().removeprefix(b'Exif\0\0')
    chunk = struct.pack('>I', len(body)) + b'eXIf' + body
    chunk += struct.pack('>I', zlib.crc32(b'eXIf' + body))
    return png[:33] + chunk + png[33:]


def test_tiff_of_several_colour_pages_gives_the_first(tmp_path):
    pages = np.stack([quarters(), 255 - quarters()])
    tifffile.imwrite(tmp_path / 'a.tif', pages, photometric='rgb')
    assert np.array_equal(read_image(tmp_path / 'a.tif'), quarters())


def test_tiff_palette_and_white_is_zero(tmp_path):
    Image.fromarray(quarters()).quantize(8).save(tmp_path / 'palette.tif')
    grey = quarters()[..., 1]
    tifffile.imwrite(tmp_path / 'white.tif', 255 - grey, photometric='miniswhite')
    assert_close(read_image(tmp_path / 'palette.tif'), quarters(), 4)
    assert np.array_equal(read_image(tmp_path / 'white.tif', 'grey')[..., 0], grey)


@pytest.mark.parametrize(
    'name', ['a.png', 'a.jpg', 'a.webp', 'a.tif', 'lzw.tif', 'b.png', 'a.npy']
)
@pytest.mark.parametrize('share', [0, 0.02, 0.5, 0.9])
def test_a_truncated_file_raises_and_is_named(tmp_path, name, share):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    path = tmp_path / name
    if name == 'a.npy':
        np.save(path, noise)
    elif name == 'b.png':
        cv2.imwrite(str(path), noise.astype(np.uint16) * 257)
    elif name == 'lzw.tif':
        Image.fromarray(noise).save(path, compression='tiff_lzw')
    else:
        Image.fromarray(noise).save(path)
    whole = path.read_bytes()
    read_image(path)
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(UnreadableImageError, match=name):
        read_image(path)


def test_missing_file_and_no_image(tmp_path):
    (tmp_path / 'a.png').write_text('<html>404</html>')
    (tmp_path / 'folder.png').mkdir()
    for name in ('a.png', 'absent.png', 'folder.png'):
        with pytest.raises(UnreadableImageError, match=name):
            read_image(tmp_path / name)


def test_result_is_contiguous_and_writable(tmp_path):
    buffer = io.BytesIO()
    Image.fromarray(quarters()).save(buffer, 'PNG')
    (tmp_path / 'a.png').write_bytes(buffer.getvalue())
    image = read_image(tmp_path / 'a.png')
    assert image.flags.c_contiguous
    image[0] = 0  # torch.from_numpy warns of arrays that cannot be written


def test_a_ppm_of_8_bits_is_uint8(tmp_path):
    Image.fromarray(quarters()).save(tmp_path / 'a.ppm')
    assert_close(read_image(tmp_path / 'a.ppm'), quarters(), 1e-6)


@pytest.mark.parametrize('photometric', ['minisblack', 'miniswhite'])
def test_a_bilevel_tiff_is_black_and_white(tmp_path, photometric):
    black = quarters()[..., 1] > 100
    tifffile.imwrite(tmp_path / 'a.tif', black, photometric=photometric)
    found = read_image(tmp_path / 'a.tif', 'grey')[..., 0]
    white = black if photometric == 'minisblack' else ~black
    assert found.dtype == np.uint8 and np.array_equal(found, 255 * white)


def test_too_many_open_files_are_no_fault_of_the_image(tmp_path, monkeypatch):
    def fails(self):
        raise OSError(errno.EMFILE, 'Too many open files')

    monkeypatch.setattr(Path, 'read_bytes', fails)
    with pytest.raises(OSError, match='Too many open files'):
        read_image(tmp_path / 'a.png')
