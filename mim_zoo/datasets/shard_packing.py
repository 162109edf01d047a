"""Pack a folder of images into tar files: whole, or to be gone on with."""

from __future__ import annotations

import io
import os
import re
import tarfile
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count, islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mim_zoo.locks import locked

from .image_folder import ImageFolder
from .image_io import UnreadableImageError, decode_image, read_file
from .shard_index import BLOCK, INDEX_NAME, Member, Shard, ShardIndex, read_shard

_THREADS, _AHEAD = 8, 64  # readers, and how many images they may be ahead
_LOCK = '.lock'


class Packed(NamedTuple):
    """What was written, in bytes too, and a message for each file left out."""

    images: int
    shards: int
    size: int
    left_out: list[str]


def pack_shards(
    source: ImageFolder,
    out: str | Path,
    shard_size: int = 2**27,
    seed: int = 0,
    say: Callable[[str], None] = lambda line: None,
) -> Packed:
    """Write the images of ``source``, shuffled by ``seed``, to the new folder ``out``.

    They keep their bytes and their paths below ``source.root``; a shard ends with the
    image that brings it to ``shard_size`` bytes. Files that cannot be decoded are left
    out; TooManyUnreadableError above ``source.max_unreadable``.

    The work is done in ``OUT.part``, renamed at the end: ``out`` is there whole or not
    at all. What was interrupted goes on after the last whole shard. ValueError if
    ``out`` is there, ``OUT.part`` holds anything else than shards of this folder, or
    another process works there.
    """
    if shard_size < 1:
        raise ValueError(f'expected shards of at least 1 byte, got {shard_size}.')
    final = _new_folder(out)
    work = final.with_name(f'{final.name}.part')
    with _alone(work):
        _new_folder(out)  # another process may have come to its end meanwhile
        packed = _pack(source, work, shard_size, seed, say)
        (work / _LOCK).unlink()
        work.rename(final)
    return packed


def _pack(
    source: ImageFolder,
    work: Path,
    shard_size: int,
    seed: int,
    say: Callable[[str], None],
) -> Packed:
    shards = _finished(work, source)
    done = {image.path for shard in shards for image in shard.images}
    say(f'{len(done)} of {len(source)} images are packed')
    order = np.random.default_rng(seed).permutation(len(source)).tolist()
    paths = (path for path in _paths(source, order) if path not in done)
    left_out: list[str] = []
    images = _readable(source, paths, left_out)
    numbered = (work / f'shard-{number:06d}.tar' for number in count())
    free = (path for path in numbered if not path.exists())
    while first := next(images, None):
        shards.append(_write(next(free), first, images, shard_size))
        done.update(image.path for image in shards[-1].images)
        say(f'{shards[-1].name}: {len(done)} of {len(source)} images are packed')
    ShardIndex.of(sorted(shards)).save(work / INDEX_NAME)
    for begun in work.glob('.shard*'):  # by a process that was killed
        begun.unlink()
    size = sum(shard.size for shard in shards)
    return Packed(len(done), len(shards), size, left_out)


@contextmanager
def _alone(work: Path) -> Iterator[None]:
    """Make the folder, and keep other processes out of it; ValueError if one is in."""
    try:
        with locked(work / _LOCK, wait=False):
            yield
    except BlockingIOError:
        raise ValueError(
            f'{work}: another process packs into this folder; wait for it, or stop it'
        ) from None


def _new_folder(out: str | Path) -> Path:
    path = Path(out).expanduser().absolute()
    if path.exists() or path.is_symlink():
        raise ValueError(
            f'{path} is there already: expected the name of a new folder, nothing is '
            'overwritten. Fix: another name, or remove what is there.'
        )
    return path


def _paths(source: ImageFolder, order: Iterable[int]) -> Iterator[str]:
    """Paths below the root, as they will be in the shards."""
    root = os.path.join(source.root, '')  # noqa: PTH118  # keeps ./ and /
    for place in order:
        yield source.get_data_info(place)['img_path'].removeprefix(root)


def _finished(work: Path, source: ImageFolder) -> list[Shard]:
    """The whole shards of an earlier run; ValueError if they are not of this folder.

    The last image of each is compared with the file it was packed from.
    """
    known = re.compile(rf'shard-\d+\.tar|{re.escape(INDEX_NAME)}|\.shard.*|\.lock')
    others = [path.name for path in work.iterdir() if not known.fullmatch(path.name)]
    shards = [read_shard(path) for path in sorted(work.glob('shard-*.tar'))]
    for shard in shards:
        for path, offset, size in shard.images[-1:]:
            with (work / shard.name).open('rb') as file:
                file.seek(offset)
                packed = file.read(size)
            original = source.root / path
            if not original.is_file() or original.read_bytes() != packed:
                others.append(f'{path} in {shard.name}')
    if others:
        raise ValueError(
            f'{work} holds what is not of {source.root}: {", ".join(others[:5])}. Fix: '
            'pack the folder it was begun with, or remove it to begin again.'
        )
    return shards


def _readable(
    source: ImageFolder, paths: Iterator[str], left_out: list[str]
) -> Iterator[tuple[str, bytes]]:
    """Path and content of each image, in order; messages of others in ``left_out``.

    Several threads read and decode: small files wait for disks.
    """

    def read(path: str) -> bytes | UnreadableImageError:
        whole = source.root / path
        try:
            data = read_file(whole)
            decode_image(data, whole, 'unchanged')
        except UnreadableImageError as error:
            return error
        return data

    with ThreadPoolExecutor(_THREADS) as threads:
        while some := list(islice(paths, _AHEAD)):
            for path, result in zip(some, threads.map(read, some)):
                if isinstance(result, bytes):
                    yield path, result
                    continue
                left_out.append(str(result))
                source.check_unreadable(left_out)


def _write(
    path: Path,
    first: tuple[str, bytes],
    rest: Iterator[tuple[str, bytes]],
    size: int,
) -> Shard:
    """One shard, of ``first`` and so many of ``rest`` as bring it to ``size``."""
    images: list[Member] = []
    with _tar(path) as tar:
        _append(tar, images, *first)
        while tar.offset < size and (image := next(rest, None)):
            _append(tar, images, *image)
    return Shard(path.name, path.stat().st_size, images)


def _append(tar: tarfile.TarFile, images: list[Member], path: str, data: bytes) -> None:
    header = tarfile.TarInfo(path)
    header.size = len(data)
    tar.addfile(header, io.BytesIO(data))
    begin = tar.offset - -(-len(data) // BLOCK) * BLOCK
    images.append(Member(path, begin, len(data)))


@contextmanager
def _tar(path: Path) -> Iterator[tarfile.TarFile]:
    """A tar file that is at ``path`` once it is whole and on the disk."""
    begun = path.with_name(f'.{path.name}.{uuid.uuid4().hex}')
    try:
        with begun.open('xb') as file:
            tar = tarfile.TarFile(
                fileobj=file,
                mode='w',
                format=tarfile.GNU_FORMAT,
                encoding='utf-8',
                errors='surrogateescape',
            )
            yield tar
            tar.close()
            file.flush()
            os.fsync(file.fileno())
        begun.rename(path)
    finally:
        begun.unlink(missing_ok=True)
