"""Images in tar files, for data sets of too many files: any image at any time."""

import os
import tarfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mim_zoo.registry import DATASETS

from .base import ImageDataset
from .image_folder import SPLIT_NAMES
from .image_io import unreadable
from .shard_index import BLOCK, INDEX_NAME, Member, ShardIndex, open_index

_OPEN = 64  # files of a process; by ShardSampler's default, 16 are in use
_AHEAD = 2**17  # bytes: the kernel cuts a longer request down to its read-ahead


class ShardReader:
    """Files in tar files, of which a process has at most 64 open at a time.

    Descriptors have no position of their own here, so that forked workers may share
    them. With ``ahead`` the system is asked for a whole tar file when it is opened.
    """

    def __init__(self, paths: Sequence[Path], ahead: bool = False) -> None:
        self.paths, self.ahead = list(paths), ahead
        self._open: dict[int, int] = {}  # descriptor of a shard, the oldest first

    def read(self, shard: int, member: Member) -> bytes:
        """The file's bytes; OSError if they end early.

        They are read with their header; ValueError if that is of another file.
        """
        path, offset, size = member
        data = os.pread(self._descriptor(shard), BLOCK + size, offset - BLOCK)
        if not _is_header(data[:BLOCK], path, size):
            raise ValueError(
                f'{self.paths[shard]} does not hold {path} at byte {offset}: it is not '
                f'the file that {INDEX_NAME} was made of. Fix: remove the index; the '
                'next run makes a new one.'
            )
        if len(data) != BLOCK + size:
            raise OSError(f'{self.paths[shard]} ends in the middle of {path}')
        return data[BLOCK:]

    def _descriptor(self, shard: int) -> int:
        if shard not in self._open:
            if len(self._open) >= _OPEN:
                os.close(self._open.pop(next(iter(self._open))))
            opened = os.open(self.paths[shard], os.O_RDONLY | os.O_CLOEXEC)
            self._open[shard] = opened
            if self.ahead:
                for start in range(0, os.fstat(opened).st_size, _AHEAD):
                    os.posix_fadvise(opened, start, _AHEAD, os.POSIX_FADV_WILLNEED)
        return self._open[shard]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, '_open': {}}

    def __del__(self) -> None:
        for descriptor in self._open.values():
            os.close(descriptor)


def _is_header(block: bytes, path: str, size: int) -> bool:
    """Whether this is the tar header of the file; of long names they hold a part."""
    try:
        header = tarfile.TarInfo.frombuf(block, 'utf-8', 'surrogateescape')
    except tarfile.HeaderError:
        return False
    whole = len(path) <= tarfile.LENGTH_NAME - len('./') and path.isascii()
    same = header.name.removeprefix('./') == path
    return header.size == size and (same or not whole)


@DATASETS.register_module()
class ShardedImages(ImageDataset):
    """Every image in the ``.tar`` files of the folder ``data_root``, in their order.

    Tar files of a folder of images, whoever made them (``tools/pack_shards.py``,
    ``tar``). ``with_label=True`` takes the class folders in them as ImageFolder takes
    those on a disk. ``img_path`` is the path in the tar file, below ``data_root``. The
    index is made of the headers once and kept beside the shards.

    ``read_ahead`` asks the system for a whole shard when a process opens it (the last
    64 stay open): for storage that seeks slowly, together with ShardSampler.

    A folder, shard or index that cannot be meant raises ValueError.
    """

    data_list: ShardIndex  # type: ignore[assignment]

    def __init__(
        self,
        data_root: str,
        with_label: bool = False,
        pipeline: Sequence[dict | Callable] = (),
        test_mode: bool = False,
        max_unreadable: float = 0.01,
        read_ahead: bool = False,
        metainfo: Mapping | None = None,
        indices: int | Sequence[int] | None = None,
        lazy_init: bool = False,
    ) -> None:
        self.root = Path(data_root).expanduser()
        self.with_label, self.read_ahead = with_label, read_ahead
        super().__init__(
            pipeline, test_mode, max_unreadable, metainfo, indices, lazy_init=True
        )
        self.serialize_data = False  # arrays already, which forked workers share
        if not lazy_init:
            self.full_init()

    def load_data_list(self) -> ShardIndex:  # type: ignore[override]
        """Open the index, which stands for the list; with labels, what has one."""
        index = open_index(self.root)
        paths = [self.root / name for name, _ in index.shards]
        self._reader = ShardReader(paths, self.read_ahead)
        if not self.with_label:
            return index
        self._labels = self._labels_of(index.folders)
        return index.take(np.flatnonzero(self._labels[index.rows['folder']] >= 0))

    def get_data_info(self, idx: int) -> dict:
        """Give ``img_path``, ``shard`` and ``member``, and ``gt_label`` if labelled."""
        info = super().get_data_info(idx)
        info['img_path'] = f'{self.root}/{info["img_path"]}'
        folder = info.pop('folder')
        if self.with_label:
            info['gt_label'] = int(self._labels[folder])
        return info

    def shard_numbers(self) -> np.ndarray:
        """(N,) integers: the shard of each image."""
        self.full_init()
        return self.data_list.rows['shard']

    def _info(self, index: int, seed: int | None) -> dict:
        info = super()._info(index, seed)
        try:
            data = self._reader.read(info.pop('shard'), info.pop('member'))
        except OSError as error:
            raise unreadable(info['img_path'], error) from error
        return {**info, 'img_bytes': data}

    def _get_unserialized_subset(self, indices: int | Sequence[int]) -> ShardIndex:  # type: ignore[override]
        return self.data_list.take(indices)

    def _labels_of(self, folders: Sequence[str]) -> np.ndarray:
        """Label of each folder, -1 of none; also settles ``metainfo['classes']``."""
        named = [name for name in folders if name]
        given = self._metainfo.get('classes')
        if given is None and {name.lower() for name in named} <= SPLIT_NAMES:
            raise ValueError(
                'ShardedImages(with_label=True) expects paths like CLASS/NAME.jpg in '
                f'the shards of {self.root}, found {named or "none with a folder"}. '
                'Fix: pack a folder that holds one folder per class, or '
                'with_label=False.'
            )
        classes = tuple(named if given is None else given)
        absent = [name for name in classes if name not in set(named)]
        if absent and not self.test_mode:
            raise ValueError(
                f"ShardedImages: metainfo['classes'] names {len(absent)} classes of "
                f'which {self.root} holds no image: {absent[:12]}; folders in the '
                f'shards: {named[:12]}.'
            )
        self._metainfo['classes'] = classes
        labels = {name: label for label, name in enumerate(classes)}
        return np.array([labels.get(name, -1) for name in folders])
