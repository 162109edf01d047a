"""JPEG by libjpeg-turbo: Pillow's pixels, or fewer of them."""

import io

import numpy as np
import simplejpeg
from PIL import Image

ORIENTATION_TAG = 274
MAGIC = b'\xff\xd8\xff'
_PIXELS = b'\xff\xda'  # start of scan
COLOURS = {'YCbCr': 'RGB', 'RGB': 'RGB', 'Gray': 'GRAY'}  # CMYK is Pillow's affair


def decode_jpeg(
    data: bytes, fast: bool = False, shortest: int | None = None
) -> tuple[np.ndarray, int] | None:
    """Pixels (H, W, 3 or 1) uint8 as stored, and the EXIF orientation 1 to 8.

    ``fast`` and ``shortest`` are those of ``read_image``. None if the file is broken or
    of a kind for Pillow.
    """
    side = shortest or 0
    try:
        _, _, stored, _ = simplejpeg.decode_jpeg_header(data)
        if stored not in COLOURS:
            return None
        image = simplejpeg.decode_jpeg(
            data,
            COLOURS[stored],
            fastdct=fast,
            fastupsample=fast,
            min_height=side,
            min_width=side,
        )
    except ValueError:
        return None
    return image, orientation(data)


def orientation(data: bytes) -> int:
    """The EXIF orientation of a JPEG, 1 to 8; 1 if it has none."""
    if not _has_exif(data):  # true of most data sets, and cheap
        return 1
    try:
        with Image.open(io.BytesIO(data)) as picture:
            return exif_orientation(picture)
    except OSError:  # Pillow takes it for no JPEG; its pixels are libjpeg's affair
        return 1


def exif_orientation(picture: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 if it is not told, or not in readable words."""
    try:
        return picture.getexif().get(ORIENTATION_TAG, 1)
    except Exception:  # of many kinds, as broken as the tags are
        return 1


def _has_exif(data: bytes) -> bool:
    """Whether one of the segments before the pixels is Exif."""
    place = 2
    while data[place : place + 2] not in (_PIXELS, b''):
        if data[place + 4 : place + 10] == b'Exif\0\0':
            return True
        place += 2 + int.from_bytes(data[place + 2 : place + 4], 'big')
    return False
