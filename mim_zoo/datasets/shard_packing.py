"""Pack a folder of images into tar shards and their index: whole, or not at all."""

from __future__ import annotations

import io
import os
import re
import tarfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path, PurePath
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import Image

from .image_folder import ImageFolder
from .image_io import UnreadableImageError, decode_image
from .shard_index import (
    BLOCK,
    INDEX_NAME,
    NO_LABEL,
    PART,
    ROW,
    ShardIndex,
    shard_of,
    sync,
)
from .transforms import resize

_UNITS = {'': 1, 'B': 1, 'KIB': 2**10, 'MIB': 2**20, 'GIB': 2**30}
_UNITS |= {'KB': 10**3, 'MB': 10**6, 'GB': 10**9}
_THREADS, _AHEAD = 8, 32  # readers, and how many images they may be ahead

# (content, name) -> (content, ending of the name in the shard)
Prepare = Callable[[bytes, str], tuple[bytes, str]]
# (images done, of how many, bytes written)
Progress = Callable[[int, int, int], None]


class Packed(NamedTuple):
    """What was written, and a message for each file that was left out."""

    images: int
    shards: int
    size: int
    left_out: list[str]


def parse_size(text: str) -> int:
    """Bytes of '512MiB', '1.5 GB' or '4096'; ValueError for anything else."""
    match = re.fullmatch(r'(\d+(?:\.\d+)?)\s*([KMG]?i?B?)', text.strip(), re.I)
    unit = match and _UNITS.get(match[2].upper())
    if not match or not unit or float(match[1]) * unit < 1:
        raise ValueError(
            f'{text!r} is no size of a shard: expected a number of bytes, or one with '
            'KiB, MiB, GiB, KB, MB or GB, such as 512MiB.'
        )
    return int(float(match[1]) * unit)


def untouched(data: bytes, name: str) -> tuple[bytes, str]:
    """The file as it is; UnreadableImageError if there is nothing in it."""
    if not data:
        raise UnreadableImageError(f'{name}: OSError: the file is empty')
    return data, PurePath(name).suffix.lower()


def decoded(data: bytes, name: str) -> tuple[bytes, str]:
    """The file as it is, if it can be decoded."""
    decode_image(data, name, 'unchanged')
    return untouched(data, name)


def shrinker(max_side: int, quality: int = 90, keep: Prepare = untouched) -> Prepare:
    """Make JPEGs of 8-bit photos with a side above ``max_side`` pixels, upright.

    Others, those with alpha or more bands too, stay as they are; smaller ones ``keep``.
    """
    if max_side < 1 or not 1 <= quality <= 100:
        raise ValueError(
            f'got max_side={max_side} pixels and quality={quality}, expected at least '
            '1 pixel and a quality of 1 to 100.'
        )

    def shrink(data: bytes, name: str) -> tuple[bytes, str]:
        try:
            with Image.open(io.BytesIO(data)) as picture:
                longest = max(picture.size)
        except Exception:  # no picture of Pillow's, or none at all
            return decoded(data, name)
        if longest <= max_side:
            return keep(data, name)
        image = decode_image(data, name, 'unchanged')
        if image.dtype != np.uint8 or image.shape[2] not in (1, 3):
            return untouched(data, name)
        height, width = (max(1, round(n * max_side / longest)) for n in image.shape[:2])
        small = resize(image, (height, width), 'bicubic')
        jpeg = io.BytesIO()
        pixels = small[..., 0] if small.shape[2] == 1 else small
        Image.fromarray(pixels).save(jpeg, 'JPEG', quality=quality)
        return jpeg.getvalue(), '.jpg'

    return shrink


def pack_shards(
    source: ImageFolder,
    out: str | Path,
    shard_size: int = 2**29,
    images_per_shard: int | None = None,
    shuffle_seed: int | None = None,
    prepare: Prepare = untouched,
    progress: Progress = lambda done, total, size: None,
) -> Packed:
    """Write the images of ``source`` into the new or empty folder ``out``.

    A shard is closed before it has more than ``shard_size`` bytes, or when it has
    ``images_per_shard``. With a seed the order inside the shards is shuffled; that of
    the data set stays ``source``'s. Files that cannot be read are left out;
    TooManyUnreadableError above ``source.max_unreadable``. Whatever goes wrong, nothing
    is left that could be taken for a data set. ValueError if ``out`` is not empty.
    """
    if shard_size < 1 or (images_per_shard is not None and images_per_shard < 1):
        raise ValueError(
            f'a shard of {shard_size} bytes and {images_per_shard} images is none; '
            'expected at least 1 of each.'
        )
    folder = Path(out).expanduser()
    existed = _check_empty(folder)
    shards = _Shards(folder, shard_size, images_per_shard)
    try:
        index, left_out = _write(source, shards, shuffle_seed, prepare, progress)
        index.save(folder / INDEX_NAME)  # from here on it names what is not there yet
        for part in shards.parts:
            part.rename(part.with_suffix(''))
    except BaseException:
        shards.discard()
        if not existed:
            folder.rmdir()
        raise
    size = sum(shard.size for shard in index.shards)
    return Packed(len(index), len(index.shards), size, left_out)


def _write(
    source: ImageFolder,
    shards: _Shards,
    shuffle_seed: int | None,
    prepare: Prepare,
    progress: Progress,
) -> tuple[ShardIndex, list[str]]:
    total = len(source)
    rows, text = np.zeros(total, ROW), bytearray()
    order = np.arange(total)
    if shuffle_seed is not None:
        order = np.random.default_rng(shuffle_seed).permutation(total)
    infos = (source.get_data_info(int(place)) for place in order)
    left_out: list[str] = []
    kept = np.zeros(total, bool)
    for done, (info, result) in enumerate(_read_ahead(infos, prepare)):
        path, place = info['img_path'], info['sample_idx']
        progress(done + 1, total, shards.size)
        if isinstance(result, UnreadableImageError):
            left_out.append(str(result))
            source.check_unreadable(left_out)
            continue
        label = info.get('gt_label', NO_LABEL)
        shard, offset = shards.add(f'{done:09d}', *result, label)
        name = os.fsencode(path.removeprefix(f'{source.root}/'))
        kept[place] = True
        rows[place] = (shard, offset, len(result[0]), label, len(text), len(name))
        text += name
    shards.close()
    named = [
        shard_of(part)._replace(name=part.with_suffix('').name) for part in shards.parts
    ]
    classes = source.metainfo.get('classes') if source.with_label else None
    index = ShardIndex(
        tuple(named), rows[kept], bytes(text), None if classes is None else (*classes,)
    )
    return index, left_out


def _read_ahead(
    infos: Iterator[dict], prepare: Prepare
) -> Iterator[tuple[dict, tuple[bytes, str] | UnreadableImageError]]:
    """Each image in its order, read by several threads: small files wait for disks."""

    def read(info: dict) -> tuple[bytes, str] | UnreadableImageError:
        path = info['img_path']
        try:
            return prepare(Path(path).read_bytes(), path)
        except UnreadableImageError as error:
            return error
        except OSError as error:
            return UnreadableImageError(f'{path}: {type(error).__name__}: {error}')

    with ThreadPoolExecutor(_THREADS) as threads:
        while ahead := list(islice(infos, _AHEAD)):
            yield from zip(ahead, threads.map(read, ahead))


def _check_empty(folder: Path) -> bool:
    """Make the folder if it is not there; whether it was."""
    existed = folder.exists()
    if existed and (not folder.is_dir() or any(folder.iterdir())):
        what = 'is not empty' if folder.is_dir() else 'is a file'
        raise ValueError(
            f'{folder} {what}: expected a new or an empty folder, nothing is '
            'overwritten. Fix: another folder, or remove what is there (files ending '
            f'in {PART} are of a run that was interrupted).'
        )
    folder.mkdir(parents=True, exist_ok=True)
    return existed


class _Shards:
    """The tar files being written; their names end in PART until all are."""

    def __init__(self, folder: Path, limit: int, images: int | None) -> None:
        self.folder, self.limit, self.images = folder, limit, images
        self.parts: list[Path] = []
        self.size = 0
        self._tar: tarfile.TarFile | None = None
        self._file: BinaryIO
        self._count = 0

    def add(self, key: str, data: bytes, ending: str, label: int) -> tuple[int, int]:
        """Append a sample; the number of its shard, and where the image begins."""
        blocks = 3 + -(-len(data) // BLOCK) + (0 if label == NO_LABEL else 2)
        if self._tar is not None and (
            self._count == self.images
            or _whole(self._tar.offset + blocks * BLOCK) > self.limit
        ):
            self.close()
        if self._tar is None:
            name = f'shard-{len(self.parts):06d}.tar{PART}'
            self.parts.append(self.folder / name)
            self._file = self.parts[-1].open('xb')
            self._tar = tarfile.TarFile(
                fileobj=self._file, mode='w', format=tarfile.USTAR_FORMAT
            )
            self._count = 0
        offset = self._tar.offset + BLOCK
        self._append(key + ending, data)
        if label != NO_LABEL:
            self._append(f'{key}.cls', str(label).encode())
        self._count += 1
        return len(self.parts) - 1, offset

    def close(self) -> None:
        """End the shard at work."""
        if self._tar is not None:
            self._tar.close()
            sync(self._file)
            self._file.close()
            self._tar = None

    def discard(self) -> None:
        """Remove all that was written."""
        if self._tar is not None:
            self._file.close()
        for part in self.parts:
            part.unlink(missing_ok=True)
            part.with_suffix('').unlink(missing_ok=True)
        (self.folder / INDEX_NAME).unlink(missing_ok=True)

    def _append(self, name: str, data: bytes) -> None:
        assert self._tar is not None
        header = tarfile.TarInfo(name)
        header.size = len(data)
        self._tar.addfile(header, io.BytesIO(data))
        self.size += BLOCK + len(data)


def _whole(size: int) -> int:
    """Bytes of a tar file, which ends with two empty blocks at a whole record."""
    return -(-size // tarfile.RECORDSIZE) * tarfile.RECORDSIZE
