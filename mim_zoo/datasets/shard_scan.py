"""Make the index of shards that somebody else wrote, from their tar headers.

Samples are named as WebDataset names them: what comes before the first dot of a file's
name is the key, what comes after it says what the file is (``key.jpg``, ``key.cls``).
"""

from __future__ import annotations

import logging
import os
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
from mmengine.logging import print_log

from .image_io import IMAGE_EXTENSIONS
from .shard_index import BLOCK, NO_LABEL, ROW, ShardIndex, shard_of

_LABEL = '.cls'
_MAGIC = {
    b'\x1f\x8b': 'gzip',
    b'BZh': 'bzip2',
    b'\xfd7zXZ': 'xz',
    b'\x28\xb5\x2f\xfd': 'zstandard',
}
_ENDINGS = (*IMAGE_EXTENSIONS, _LABEL)
_PREFERENCE = {ending: place for place, ending in enumerate(IMAGE_EXTENSIONS)}


@dataclass
class _Sample:
    """The files of one key: an image's name, offset and size; its label."""

    endings: set[str] = field(default_factory=set)
    images: dict[str, tuple[str, int, int]] = field(default_factory=dict)
    label: int = NO_LABEL


def scan_shards(root: Path, names: Sequence[str]) -> ShardIndex:
    """Read the headers of these files in ``root``, in their order.

    A key with several images counts with the first kind of IMAGE_EXTENSIONS; members
    that are neither images nor labels are left alone. ValueError for a shard that is
    compressed, not whole or has a key twice.
    """
    print_log(
        f'Making the index of {len(names)} shards in {root}, once.',
        'current',
        level=logging.INFO,
    )
    shards, rows, text = [], [], bytearray()
    for number, name in enumerate(names):
        shards.append(shard_of(root / name))
        for sample in _samples(root / name).values():
            if not sample.images:
                continue
            best = min(sample.images, key=_PREFERENCE.__getitem__)
            member, offset, size = sample.images[best]
            path = os.fsencode(f'{name}/{member}')
            rows.append((number, offset, size, sample.label, len(text), len(path)))
            text += path
    if not rows:
        raise ValueError(
            f'ShardedImages found no image in the {len(names)} shards of {root}: '
            f'looked for members named KEY{", KEY".join(IMAGE_EXTENSIONS)}, with no '
            'other dot in KEY.'
        )
    return ShardIndex(tuple(shards), np.array(rows, ROW), bytes(text))


def _samples(path: Path) -> dict[str, _Sample]:
    """The samples of one shard by key, in its order."""
    samples: dict[str, _Sample] = {}
    with path.open('rb') as file:
        _check_plain(file, path)
        for member in _members(file, path):
            name = member.name.removeprefix('./')
            folder, slash, base = name.rpartition('/')
            stem, dot, ending = base.partition('.')
            ending = dot + ending.lower()
            if not stem or ending not in _ENDINGS:
                continue
            sample = samples.setdefault(folder + slash + stem, _Sample())
            if ending in sample.endings:
                raise ValueError(
                    f'{path} has the key {folder + slash + stem!r} twice with '
                    f'{ending}. Fix: give every sample of a shard a key of its own.'
                )
            sample.endings.add(ending)
            if ending == _LABEL:
                file.seek(member.offset_data)
                sample.label = _label(file.read(min(member.size, 20)))
            else:
                sample.images[ending] = (name, member.offset_data, member.size)
    return samples


def _check_plain(file: BinaryIO, path: Path) -> None:
    start = file.read(6)
    file.seek(0)
    for magic, kind in _MAGIC.items():
        if start.startswith(magic):
            raise ValueError(
                f'{path} is compressed ({kind}), expected a plain tar, in which an '
                'image can be found without unpacking what comes before. Fix: '
                'decompress it.'
            )


def _members(file: BinaryIO, path: Path) -> Iterator[tarfile.TarInfo]:
    """Every regular file of a tar that is whole up to the zeros at its end."""
    problem = ''
    try:
        with tarfile.open(fileobj=file, mode='r:') as tar:
            while (member := tar.next()) is not None:
                tar.members = []  # type: ignore[attr-defined]  # it keeps all
                if member.isreg() and not member.issparse():
                    yield member
                elif not member.isdir() and member.name.lower().endswith(_ENDINGS):
                    raise ValueError(
                        f'{path}: the member {member.name} is a link or sparse, '
                        'expected a file with all its bytes. Fix: tar with '
                        '--hard-dereference -h and without -S.'
                    )
            end = tar.offset  # of what tarfile took for the end: it may be anything
    except tarfile.TarError as error:
        problem = str(error)
    else:
        file.seek(end)
        if file.read(BLOCK) != bytes(BLOCK):
            problem = f'no end of archive at byte {end}'
    if problem:
        raise ValueError(
            f'{path} is no whole tar file: {problem}. Fix: get or pack it again.'
        )


def _label(text: bytes) -> int:
    """The integer in a ``.cls`` member; NO_LABEL for anything else."""
    text = text.strip()
    return int(text) if text.isdigit() and int(text) < 2**31 else NO_LABEL
