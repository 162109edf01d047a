"""Read an image file of any common kind into one array layout.

Every picture becomes ``(H, W, C)``, RGB, upright (EXIF or TIFF orientation applied),
``uint8`` for 8-bit files and ``float32`` for everything deeper. Values are never
rescaled: a 16-bit file gives 0..65535, so mean and std are in the files' units.
"""

import errno
import io
import re
from pathlib import Path

import cv2
import numpy as np
import tifffile
from PIL import Image, UnidentifiedImageError

from .jpeg import MAGIC as _JPEG_MAGIC
from .jpeg import ORIENTATION_TAG, decode_jpeg, exif_orientation

IMAGE_EXTENSIONS = (
    *('.jpg', '.jpeg', '.png', '.webp', '.tif', '.tiff', '.npy'),
    *('.bmp', '.ppm', '.pgm'),
)
CHANNELS = ('RGB', 'grey', 'unchanged')
_TIFF_MAGIC = (b'II*\0', b'MM\0*', b'II+\0', b'MM\0+')
_PNG_MAGIC = b'\x89PNG\r\n\x1a\n'
_PNM_HEADER = re.compile(rb'P[2356](?:\s|#[^\n]*\n)+(?:(\d+)(?:\s|#[^\n]*\n)+){2}(\d+)')
# Troubles of the process, not of the file that it wanted.
_OF_PROCESS = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
_GREY_WEIGHTS = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R 601-2, as PIL
_TIFF_ALPHA = (1, 2)  # ExtraSamples: associated or not; 0 is anything
# 8-bit TIFF colour models that Pillow turns into RGB and tifffile leaves as stored.
_TIFF_COLOUR = ('MINISWHITE', 'PALETTE', 'SEPARATED', 'YCBCR', 'CIELAB')


class UnreadableImageError(ValueError):
    """A file that is missing, truncated or no image; the message names it."""


def read_image(
    path: str | Path,
    channels: str = 'RGB',
    fast: bool = False,
    shortest: int | None = None,
) -> np.ndarray:
    """Read ``path`` as an array (H, W, C); the kind is told by content, not by name.

    ``channels``: ``'RGB'`` gives 3 channels (grey is repeated, what a file calls alpha
    dropped), ``'grey'`` gives 1, ``'unchanged'`` as many as the file holds. Palette and
    CMYK files (Adobe's inverted ones too) are RGB in every case. In a TIFF, samples of
    either planar layout, or single-band pages, are bands; ``.npy`` holds (H, W) or
    (H, W, C).

    Two wishes for JPEG, without effect on other kinds: ``fast`` takes the approximate
    transform and the plain upsampling of colours (less than 2 grey levels off in the
    mean of a photograph, tested); ``shortest`` decodes at the smallest n/8 of the size
    that leaves both sides so many pixels.

    Raises UnreadableImageError if the file cannot be decoded, ValueError if it can
    but does not fit ``channels``.
    """
    return decode_image(read_file(path), path, channels, fast, shortest)


def read_file(path: str | Path) -> bytes:
    """The file's content; UnreadableImageError if there is none to be had."""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise unreadable(path, error) from error


def unreadable(path: str | Path, error: OSError) -> Exception:
    """UnreadableImageError, or the error itself where the file is not to blame.

    A process may have too many files open, or too little memory.
    """
    if error.errno in _OF_PROCESS:
        return error
    return UnreadableImageError(f'{path}: {type(error).__name__}: {error}')


def content_of(results: dict) -> bytes:
    """Take out ``img_bytes`` if the data set has read them, or read ``img_path``."""
    if 'img_bytes' in results:
        return results.pop('img_bytes')
    return read_file(results['img_path'])


def decode_image(
    data: bytes,
    path: str | Path,
    channels: str = 'RGB',
    fast: bool = False,
    shortest: int | None = None,
) -> np.ndarray:
    """``read_image`` of the bytes of a file; ``path`` is what errors name."""
    if channels not in CHANNELS:
        raise ValueError(f'channels must be one of {CHANNELS}, got {channels!r}.')
    try:
        image, alpha = _decode(data, fast, shortest)
    except Exception as error:
        if "requires the 'imagecodecs' package" in str(error):
            raise ValueError(
                f'{path}: this TIFF compression needs one more package: {error}. '
                'Fix: pip install imagecodecs'
            ) from error
        if isinstance(error, UnidentifiedImageError):
            error = OSError('no image of a known kind')
        raise UnreadableImageError(
            f'{path}: {type(error).__name__}: {error}'
        ) from error
    if image.dtype != np.uint8:
        image = image.astype(np.float32)
    return np.require(
        _as_channels(image, channels, path, alpha), requirements=['C', 'W']
    )


def _decode(data: bytes, fast: bool, shortest: int | None) -> tuple[np.ndarray, bool]:
    """The image, and whether a second or fourth band of it is alpha."""
    if data[:3] == _JPEG_MAGIC:
        decoded = decode_jpeg(data, fast, shortest)
        image = _decode_pillow(data) if decoded is None else _upright(*decoded)
        return image, False
    if data[:4] in _TIFF_MAGIC:
        return _decode_tiff(data)
    if data[:6] == b'\x93NUMPY':
        return _decode_npy(data), False
    return (_decode_deep if _is_deep(data) else _decode_pillow)(data), True


def _is_deep(data: bytes) -> bool:
    """Whether this is a PNG, PPM or PGM of more than 8 bits."""
    if data[:8] == _PNG_MAGIC:
        return data[24:25] == b'\x10'
    header = _PNM_HEADER.match(data)
    return header is not None and int(header[2]) > 255


def _decode_pillow(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as picture:
        picture.load()  # raises on a truncated file
        tag = exif_orientation(picture)
        if picture.format == 'TIFF':
            tag = 1  # Pillow has turned it
        if picture.mode == '1':
            image = np.asarray(picture.convert('L'))
        elif picture.mode in ('P', 'PA'):
            alpha = picture.mode == 'PA' or 'transparency' in picture.info
            image = np.asarray(picture.convert('RGBA' if alpha else 'RGB'))
        elif picture.mode in ('CMYK', 'YCbCr', 'LAB', 'HSV'):
            image = np.asarray(picture.convert('RGB'))
        else:  # L, LA, RGB, RGBA, I, I;16, F
            image = np.asarray(picture)
    return _upright(image, tag)


def _decode_deep(data: bytes) -> np.ndarray:
    # Pillow keeps only the upper byte of colour and rescales a PGM; OpenCV accepts half
    # a file.
    with Image.open(io.BytesIO(data)) as picture:
        picture.load()  # raises on a truncated file
        tag = exif_orientation(picture)
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if image is None:
        raise OSError('not a whole file')
    return _upright(_swap_blue_red(image), tag)


def _decode_npy(data: bytes) -> np.ndarray:
    image = np.load(io.BytesIO(data), allow_pickle=False)
    if image.ndim not in (2, 3) or image.dtype.kind not in 'buif':
        raise ValueError(
            'expected a numeric array (H, W) or (H, W, C), got '
            f'{image.dtype} {image.shape}'
        )
    return image


def _decode_tiff(data: bytes) -> tuple[np.ndarray, bool]:
    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        series = tiff.series[0]
        page = tiff.pages.first
        colour = getattr(page.photometric, 'name', '') in _TIFF_COLOUR
        below_8_bits = page.bitspersample < 8 and page.samplesperpixel == 1
        if below_8_bits or (colour and page.bitspersample <= 8):
            return _decode_pillow(data), True
        alpha = any(extra in _TIFF_ALPHA for extra in page.extrasamples)
        tag = page.tags.get(ORIENTATION_TAG)
        try:
            image = _bands_last(series.asarray(), series.axes)
        except ValueError as error:
            if 'imagecodecs' not in str(error):
                raise
            decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
            if decoded is None or decoded.dtype != page.dtype:
                raise
            # OpenCV turns TIFFs upright itself.
            return _swap_blue_red(decoded), alpha
    return _upright(image, tag.value if tag else 1), alpha


def _bands_last(image: np.ndarray, axes: str) -> np.ndarray:
    """(H, W, bands) from tifffile's array; of several stacked axes, the first item."""
    others = [axis for axis in axes if axis not in 'YX']
    band = next((axis for axis in 'SC' if axis in others), others[-1:])
    for axis in others:
        if axis not in band:
            image, axes = image.take(0, axes.index(axis)), axes.replace(axis, '')
    order = [axes.index(axis) for axis in ('Y', 'X', *band)]
    return image.transpose(order)


def _swap_blue_red(image: np.ndarray) -> np.ndarray:
    if image.ndim == 3 and image.shape[2] in (3, 4):
        return image[..., [2, 1, 0, 3][: image.shape[2]]]
    return image


def _upright(image: np.ndarray, tag: int) -> np.ndarray:
    """Undo the EXIF orientation ``tag`` (1..8; anything else counts as 1)."""
    if tag in (5, 6, 7, 8):
        image = image.swapaxes(0, 1)
    if tag in (3, 4, 7, 8):
        image = image[::-1]
    if tag in (2, 3, 6, 7):
        image = image[:, ::-1]
    return image


def _as_channels(
    image: np.ndarray, channels: str, path: str | Path, alpha: bool
) -> np.ndarray:
    if image.ndim == 2:
        image = image[..., None]
    count = image.shape[2]
    if channels == 'unchanged':
        return image
    if count > 4 or (count in (2, 4) and not alpha):
        raise ValueError(
            f'{path}: channels={channels!r} expects 1 or 3 bands, alpha behind them if '
            f'the file says that it is, got {count} (shape {image.shape}). Fix: '
            f"LoadImage(channels='unchanged') and a backbone with in_channels={count}."
        )
    image = image[..., :1] if count < 3 else image[..., :3]  # drop alpha
    if channels == 'RGB':
        return image.repeat(3, axis=2) if count < 3 else image
    if count < 3:
        return image
    grey = image @ _GREY_WEIGHTS
    grey = np.rint(grey).astype(np.uint8) if image.dtype == np.uint8 else grey
    return grey[..., None]
