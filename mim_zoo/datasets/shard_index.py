"""Where each image lies in a folder of tar shards: arrays, kept beside the shards."""

from __future__ import annotations

import json
import logging
import os
import tarfile
import uuid
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from mmengine.logging import print_log

INDEX_NAME = 'shard_index.npz'
PART = '.part'  # ends the name of a shard that is not written to its end
COMPRESSED = ('.tar.gz', '.tgz', '.tar.bz2', '.tbz2', '.tar.xz', '.txz', '.tar.zst')
BLOCK = tarfile.BLOCKSIZE
# offset and size in bytes, of the shard's file; name and chars place the path in `text`
ROW = np.dtype(
    [
        *(('shard', '<i4'), ('offset', '<i8'), ('size', '<i8')),
        *(('label', '<i4'), ('name', '<i8'), ('chars', '<i4')),
    ]
)
NO_LABEL = -1
_FORMAT = 1
_HEADERS = 16  # looked at in a shard whose time has changed


class Shard(NamedTuple):
    """A shard as it was when the index was made: bytes, and nanoseconds."""

    name: str
    size: int
    mtime: int


@dataclass(frozen=True)
class ShardIndex:
    """One row per image; ``rows`` is (N,) of dtype ROW, ``text`` holds all paths.

    It is a sequence of dicts as BaseDataset's ``data_list``, made when asked for.
    """

    shards: tuple[Shard, ...]
    rows: np.ndarray
    text: bytes
    classes: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, place: int) -> dict:
        shard, offset, size, label, name, chars = self.rows[place].item()
        path = os.fsdecode(self.text[name : name + chars])
        info = {'img_path': path, 'shard': shard, 'offset': offset, 'size': size}
        return info if label == NO_LABEL else {**info, 'gt_label': label}

    def take(self, indices: int | Sequence[int]) -> ShardIndex:
        """Those rows; of an int, the first (or the last, if negative) so many."""
        if isinstance(indices, int):
            kept = self.rows[:indices] if indices >= 0 else self.rows[indices:]
        else:
            kept = self.rows[np.asarray(indices, dtype=np.int64)]
        return replace(self, rows=kept)

    def save(self, path: Path) -> None:
        """Write the file whole or not at all."""
        facts = json.dumps({'shards': self.shards, 'classes': self.classes})
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
                sync(file)
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
            shards = tuple(Shard(*shard) for shard in facts['shards'])
            sizes = np.array([shard.size for shard in shards], np.int64)
            if rows.dtype != ROW or (rows['size'] < 0).any():
                raise ValueError('rows of another kind')
            if (rows['offset'] + rows['size'] > sizes[rows['shard']]).any():
                raise ValueError('images beyond the end of their shards')
            classes = facts['classes']
        except (OSError, KeyError, ValueError, IndexError, zipfile.BadZipFile) as error:
            raise ValueError(
                f'{path} cannot be read as an index of shards ({error}). Fix: remove '
                'it; the next run makes a new one from the shards.'
            ) from error
        return cls(shards, rows, text, None if classes is None else tuple(classes))

    def check(self, root: Path) -> None:
        """ValueError unless the shards in ``root`` are those the index was made of.

        A copy may have another time: then some of its tar headers are looked at.
        """
        present, named = set(tars_in(root)), {shard.name for shard in self.shards}
        if present != named:
            lost, new = sorted(named - present), sorted(present - named)
            parts = [f'{len(lost)} are missing ({_some(lost)})'] if lost else []
            parts += [f'{len(new)} are not in it ({_some(new)})'] if new else []
            raise ValueError(
                f'{root / INDEX_NAME} is the index of {len(named)} shards, of the '
                f'{len(present)} found {" and ".join(parts)}. Fix: put back the ones '
                'it was made of, or remove it and the next run makes a new one.'
            )
        for number, shard in enumerate(self.shards):
            stat = (root / shard.name).stat()
            if stat.st_size != shard.size:
                what = f'has {stat.st_size} bytes, expected {shard.size}'
            elif stat.st_mtime_ns != shard.mtime and not self._fits(root, number):
                what = 'was written anew, its images are not where they were'
            else:
                continue
            raise ValueError(
                f'{root / shard.name} no longer fits {INDEX_NAME}: it {what}. Fix: '
                'copy the shard again if the copy was cut short; if the shards are '
                'meant to be other ones, remove the index and the next run makes a '
                'new one.'
            )

    def _fits(self, root: Path, number: int) -> bool:
        """Whether tar headers of this shard, evenly spread, are where they must be."""
        rows = self.rows[self.rows['shard'] == number]
        some = np.unique(np.linspace(0, len(rows) - 1, _HEADERS).astype(int))
        with (root / self.shards[number].name).open('rb') as file:
            for place in some if len(rows) else ():
                file.seek(rows['offset'][place] - BLOCK)
                try:
                    header = tarfile.TarInfo.frombuf(
                        file.read(BLOCK), 'utf-8', 'surrogateescape'
                    )
                except tarfile.HeaderError:
                    return False
                if header.size != rows['size'][place]:
                    return False
        return True


def open_index(root: Path) -> ShardIndex:
    """The index beside the shards in ``root``; made, and kept there, if there is none.

    ValueError if it does not fit them, or there is nothing to make it of.
    """
    from .shard_scan import scan_shards

    check_folder(root)
    path = root / INDEX_NAME
    if path.is_file():
        index = ShardIndex.load(path)
        index.check(root)
        return index
    index = scan_shards(root, tars_in(root))
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


def check_folder(root: Path) -> None:
    """ValueError if ``root`` is no folder of whole, uncompressed shards."""
    if not root.is_dir():
        what = 'is a file' if root.exists() else 'does not exist'
        raise ValueError(
            f'ShardedImages expects a folder of .tar files as data_root, but {root} '
            f'{what} (working directory {Path.cwd()}).'
        )
    names = sorted(path.name for path in root.iterdir())
    if unfinished := [name for name in names if name.endswith(PART)]:
        raise ValueError(
            f'{root} holds {len(unfinished)} shards that were not written to their '
            f'end ({_some(unfinished)}): tools/pack_shards.py is still at work or was '
            'interrupted. Fix: wait for it, or remove the folder and pack again.'
        )
    if packed := [name for name in names if name.lower().endswith(COMPRESSED)]:
        raise ValueError(
            f'{root} holds compressed tar files ({_some(packed)}), in which no image '
            'can be found without unpacking what comes before. Fix: decompress them '
            '(images hardly get smaller), or pack the images with tools/pack_shards.py.'
        )
    if not tars_in(root) and INDEX_NAME not in names:
        raise ValueError(
            f'ShardedImages found no .tar file in {root}, which holds '
            f'{_some(names) or "nothing"}. Fix: set data_root to the folder of the '
            'shards; for loose files take ImageFolder, or tools/pack_shards.py.'
        )


def tars_in(root: Path) -> list[str]:
    """Names of the shards in a folder, sorted; hidden ones are left out."""
    return sorted(path.name for path in root.glob('*.tar') if path.name[0] != '.')


def shard_of(path: Path) -> Shard:
    """The entry of a file for the index."""
    stat = path.stat()
    return Shard(path.name, stat.st_size, stat.st_mtime_ns)


def sync(file: BinaryIO) -> None:
    """Have what was written on the disk."""
    file.flush()
    os.fsync(file.fileno())


def _some(names: Sequence[str], limit: int = 5) -> str:
    return ', '.join(names[:limit]) + (', ...' if len(names) > limit else '')
