"""Where each image lies in a folder of tar files: arrays, kept beside the files."""

from __future__ import annotations

import json
import logging
import os
import tarfile
import uuid
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from mmengine.logging import print_log

from .image_io import IMAGE_EXTENSIONS

INDEX_NAME = 'shard_index.npz'
BLOCK = tarfile.BLOCKSIZE
# offset and size in bytes of the shard; name and chars place the path in `text`
ROW = np.dtype(
    [
        *(('shard', '<i4'), ('offset', '<i8'), ('size', '<i8')),
        *(('folder', '<i4'), ('name', '<i8'), ('chars', '<i4')),
    ]
)
_FORMAT = 1


class Member(NamedTuple):
    """A file in a tar file: its path, where its content begins and how long it is."""

    path: str
    offset: int
    size: int


class Shard(NamedTuple):
    """A tar file: its name, its bytes, and the images in it."""

    name: str
    size: int
    images: list[Member]


@dataclass(frozen=True)
class ShardIndex:
    """One row per image; ``rows`` is (N,) of dtype ROW, ``text`` holds all paths.

    ``shards`` are names and sizes in bytes; ``folders`` the first parts of the paths,
    sorted, '' that of a path without one. It is a sequence of dicts as BaseDataset's
    ``data_list``, made when asked for.
    """

    shards: tuple[tuple[str, int], ...]
    folders: tuple[str, ...]
    rows: np.ndarray
    text: bytes

    @classmethod
    def of(cls, shards: Iterable[Shard]) -> ShardIndex:
        """The index of these shards, in their order."""
        files, rows, text = [], [], bytearray()
        folders: dict[str, int] = {}
        for number, shard in enumerate(shards):
            files.append((shard.name, shard.size))
            for path, offset, size in shard.images:
                folder, slash, _ = path.partition('/')
                place = folders.setdefault(folder if slash else '', len(folders))
                name = os.fsencode(path)
                rows.append((number, offset, size, place, len(text), len(name)))
                text += name
        array = np.array(rows, ROW)
        names = sorted(folders)
        ranks = {name: rank for rank, name in enumerate(names)}
        if names:  # from the order they came in to the sorted one
            array['folder'] = np.array([ranks[n] for n in folders])[array['folder']]
        return cls(tuple(files), tuple(names), array, bytes(text))

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, place: int) -> dict:
        shard, offset, size, folder, name, chars = self.rows[place].item()
        path = os.fsdecode(self.text[name : name + chars])
        return {
            'img_path': path,
            'shard': shard,
            'member': Member(path, offset, size),
            'folder': folder,
        }

    def take(self, indices: int | Sequence[int] | np.ndarray) -> ShardIndex:
        """Those rows; of an int, the first (or the last, if negative) so many."""
        if isinstance(indices, int):
            kept = self.rows[:indices] if indices >= 0 else self.rows[indices:]
        else:
            kept = self.rows[np.asarray(indices, dtype=np.int64)]
        return replace(self, rows=kept)

    def save(self, path: Path) -> None:
        """Write the file whole or not at all."""
        facts = json.dumps({'shards': self.shards, 'folders': self.folders})
        new = path.with_name(f'.{path.name}.{uuid.uuid4().hex}')
        try:
            with new.open('xb') as file:
                np.savez_compressed(
                    file,
                    format=np.array(_FORMAT),
                    facts=np.array(facts),
                    rows=self.rows,
                    text=np.frombuffer(self.text, np.uint8),
                )
                file.flush()
                os.fsync(file.fileno())
            new.replace(path)
        finally:
            new.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: Path) -> ShardIndex:
        """Read what ``save`` wrote; ValueError if it is something else or damaged."""
        try:
            with np.load(path, allow_pickle=False) as file:
                if int(file['format']) != _FORMAT:
                    raise ValueError(f'format {file["format"]}, expected {_FORMAT}')
                facts = json.loads(str(file['facts']))
                rows, text = file['rows'], file['text'].tobytes()
            if rows.dtype != ROW:
                raise ValueError('rows of another kind')
        except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile) as error:
            raise ValueError(
                f'{path} cannot be read as an index of shards ({error}). Fix: remove '
                'it; the next run makes a new one from the shards.'
            ) from error
        shards = tuple((name, size) for name, size in facts['shards'])
        return cls(shards, tuple(facts['folders']), rows, text)


def open_index(root: Path) -> ShardIndex:
    """The index of the shards in ``root``; made, and kept there, if there is none.

    ValueError if it does not fit the files, or there is nothing to make it of.
    """
    present = sorted(p.name for p in _listed(root) if p.suffix == '.tar')
    path = root / INDEX_NAME
    if path.is_file():
        index = ShardIndex.load(path)
        _check_files(root, dict(index.shards), present)
        return index
    print_log(f'Making the index of {len(present)} shards in {root}, once.', 'current')
    index = ShardIndex.of(read_shard(root / name) for name in present)
    if not len(index):
        raise ValueError(
            f'ShardedImages found no image in {root}: looked in {len(present)} .tar '
            f'files for {", ".join(IMAGE_EXTENSIONS)}; the folder holds '
            f'{_some([p.name for p in _listed(root)]) or "nothing"}. Fix: set '
            'data_root to the folder of the shards (decompress .tar.gz); for loose '
            'files take ImageFolder, or pack them with tools/pack_shards.py.'
        )
    _warn_of_repeated(index)
    try:
        index.save(path)
    except OSError as error:
        print_log(
            f'{path} cannot be kept ({error}): every run will have to read the headers '
            f'of {len(index.shards)} shards again.',
            'current',
            level=logging.WARNING,
        )
    return index


def read_shard(path: Path) -> Shard:
    """Find the images of a tar file by its headers, in its order; no hidden ones.

    ValueError if the file is compressed, not whole, or holds an image as a link.
    """
    images = []
    try:
        with path.open('rb') as file, tarfile.open(fileobj=file, mode='r:') as tar:
            while (member := tar.next()) is not None:
                tar.members = []  # type: ignore[attr-defined]  # it keeps all
                name = member.name.removeprefix('./')
                hidden = '/.' in f'/{name}'
                if hidden or not name.lower().endswith(IMAGE_EXTENSIONS):
                    continue
                if member.isreg() and not member.issparse():
                    images.append(Member(name, member.offset_data, member.size))
                elif not member.isdir():
                    raise ValueError(
                        f'{path}: {name} is a link or a sparse file, expected one with '
                        'all its bytes. Fix: tar with --hard-dereference -h, without '
                        '-S.'
                    )
            # tarfile takes a damaged header for the end
            file.seek(tar.offset)
            if file.read(BLOCK) != bytes(BLOCK):
                raise tarfile.ReadError(f'no end of archive at byte {tar.offset}')
    except tarfile.TarError as error:
        raise ValueError(
            f'{path} is no whole, uncompressed tar file: {error}. Fix: decompress it, '
            'or get or pack it again.'
        ) from error
    return Shard(path.name, path.stat().st_size, images)


def _listed(root: Path) -> list[Path]:
    """What the folder shows; ValueError if it is none."""
    if not root.is_dir():
        what = 'is a file' if root.exists() else 'does not exist'
        raise ValueError(
            f'ShardedImages expects a folder of .tar files as data_root, but {root} '
            f'{what} (working directory {Path.cwd()}).'
        )
    return sorted(path for path in root.iterdir() if path.name[0] != '.')


def _check_files(root: Path, expected: dict[str, int], present: list[str]) -> None:
    """ValueError unless the shards are those the index was made of, in full."""
    lost = sorted(expected.keys() - set(present))
    new = sorted(set(present) - expected.keys())
    sizes = {name: (root / name).stat().st_size for name in expected.keys() - set(lost)}
    other = sorted(name for name, size in sizes.items() if size != expected[name])
    parts = [
        f'{len(names)} {what} ({_some(names)})'
        for names, what in (
            *((lost, 'are missing'), (new, 'are not in it')),
            (other, 'have another size'),
        )
        if names
    ]
    if parts:
        raise ValueError(
            f'{root / INDEX_NAME} is the index of {len(expected)} shards, of which '
            f'{" and ".join(parts)}. Fix: copy those again if the copy was cut short; '
            'if the shards are meant to be other ones, remove the index and the next '
            'run makes a new one.'
        )


def _warn_of_repeated(index: ShardIndex) -> None:
    """Name a path that is in the shards twice: packed or copied so, or by chance."""
    text, (begins, chars) = index.text, (index.rows[key] for key in ('name', 'chars'))
    paths = (text[a : a + n] for a, n in zip(begins.tolist(), chars.tolist()))
    hashes = np.fromiter(map(hash, paths), np.int64, len(index))
    values, counts = np.unique(hashes, return_counts=True)
    if len(values) == len(hashes):
        return
    places = np.flatnonzero(hashes == values[counts.argmax()]).tolist()
    names = sorted({index.shards[index[place]['shard']][0] for place in places})
    print_log(
        f'{len(hashes) - len(values)} of {len(hashes)} images have the path of another '
        f'one, such as {index[places[0]]["img_path"]} ({_some(names)}): if shards were '
        'packed or copied twice, remove those and the index.',
        'current',
        level=logging.WARNING,
    )


def _some(names: Sequence[str], limit: int = 5) -> str:
    return ', '.join(names[:limit]) + (', ...' if len(names) > limit else '')
