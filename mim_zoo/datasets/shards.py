"""Images in tar shards, for data sets of too many files: any image at any time."""

import os
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mim_zoo.registry import DATASETS

from .base import ImageDataset
from .image_io import UnreadableImageError
from .shard_index import NO_LABEL, ShardIndex, open_index


class ShardReader:
    """Bytes out of some files, of which at most ``limit`` are open at a time.

    Each process opens its own, when first asked, whether it was forked or spawned. A
    process reads from one thread.
    """

    def __init__(self, paths: Sequence[Path], limit: int) -> None:
        self.paths, self.limit = list(paths), limit
        self._open: OrderedDict[int, int] = OrderedDict()  # descriptors, oldest first
        self._owner = os.getpid()

    def read(self, shard: int, offset: int, size: int) -> bytes:
        """These bytes of this file; OSError if it ends before."""
        data = os.pread(self._descriptor(shard), size, offset)
        if len(data) != size:
            raise OSError(
                f'{self.paths[shard]} ends in the middle of an image: {len(data)} of '
                f'{size} bytes at {offset}'
            )
        return data

    def close(self) -> None:
        """Close this process's files; reading opens them again."""
        for descriptor in self._open.values():
            os.close(descriptor)
        self._open.clear()

    def _descriptor(self, shard: int) -> int:
        if self._owner != os.getpid():  # forked: these are the parent's, duplicated
            self.close()
            self._owner = os.getpid()
        if shard not in self._open:
            if len(self._open) >= self.limit:
                os.close(self._open.popitem(last=False)[1])
            self._open[shard] = os.open(self.paths[shard], os.O_RDONLY | os.O_CLOEXEC)
        self._open.move_to_end(shard)
        return self._open[shard]

    def __getstate__(self) -> dict[str, Any]:
        return {'paths': self.paths, 'limit': self.limit}

    def __setstate__(self, state: dict[str, Any]) -> None:
        ShardReader.__init__(self, **state)

    def __del__(self) -> None:
        self.close()


@DATASETS.register_module()
class ShardedImages(ImageDataset):
    """Every image in the ``.tar`` files of the folder ``data_root``, in a fixed order.

    Shards of ``tools/pack_shards.py`` give what ImageFolder gives of the folder they
    were packed from: order, labels, classes, and paths, though below ``data_root``.
    Shards of others, named as in WebDataset (``key.jpg``, ``key.cls``), are read by an
    index made of their headers and kept beside them if the folder can be written.

    At most ``open_shards`` files are open in a process. A folder, shard or index that
    cannot be meant raises ValueError.
    """

    data_list: ShardIndex  # type: ignore[assignment]

    def __init__(
        self,
        data_root: str,
        with_label: bool = False,
        pipeline: Sequence[dict | Callable] = (),
        test_mode: bool = False,
        max_unreadable: float = 0.01,
        open_shards: int = 64,
        metainfo: Mapping | None = None,
        indices: int | Sequence[int] | None = None,
        lazy_init: bool = False,
    ) -> None:
        if open_shards < 1:
            raise ValueError(
                f'ShardedImages: open_shards must be at least 1, got {open_shards}.'
            )
        self.root = Path(data_root).expanduser()
        self.with_label, self.open_shards = with_label, open_shards
        super().__init__(
            pipeline, test_mode, max_unreadable, metainfo, indices, lazy_init=True
        )
        self.serialize_data = False  # arrays already, which forked workers share
        if not lazy_init:
            self.full_init()

    def load_data_list(self) -> ShardIndex:  # type: ignore[override]
        """Open the index, which stands for the list, and check its labels."""
        index = open_index(self.root)
        if self.with_label:
            self._check_labels(index)
        paths = [self.root / shard.name for shard in index.shards]
        self._reader = ShardReader(paths, self.open_shards)
        return index

    def get_data_info(self, idx: int) -> dict:
        """Give ``img_path``, ``shard``, ``offset``, ``size``, and label if labelled."""
        info = super().get_data_info(idx)
        info['img_path'] = str(self.root / info['img_path'])
        if not self.with_label:
            info.pop('gt_label', None)
        return info

    def shard_numbers(self) -> np.ndarray:
        """(N,) integers: the shard of each image."""
        self.full_init()
        return self.data_list.rows['shard']

    def _info(self, index: int, seed: int | None) -> dict:
        info = super()._info(index, seed)
        place = info.pop('shard'), info.pop('offset'), info.pop('size')
        try:
            return {**info, 'img_bytes': self._reader.read(*place)}
        except OSError as error:
            raise UnreadableImageError(
                f'{info["img_path"]}: {type(error).__name__}: {error}'
            ) from error

    def _get_unserialized_subset(self, indices: int | Sequence[int]) -> ShardIndex:
        return self.data_list.take(indices)

    def _check_labels(self, index: ShardIndex) -> None:
        """Every image has one; also settles ``metainfo['classes']``."""
        labels = index.rows['label']
        bare = np.flatnonzero(labels == NO_LABEL)
        if len(bare):
            raise ValueError(
                f'ShardedImages(with_label=True): {len(bare)} of {len(index)} images '
                f'in {self.root} have no label, the first is '
                f'{index[int(bare[0])]["img_path"]}. Fix: pack with --with-label (in '
                'shards of others, a member KEY.cls holding an integer), or '
                'with_label=False.'
            )
        given = self._metainfo.get('classes')
        if given is not None and index.classes not in (None, tuple(given)):
            raise ValueError(
                f"ShardedImages: metainfo['classes'] are {len(given)} classes, the "
                f'shards in {self.root} were packed with {len(index.classes or ())} '
                'other ones, or in another order. Fix: leave metainfo out, or pack '
                'the classes you want.'
            )
        classes = given if index.classes is None else index.classes
        if classes is not None:
            if len(labels) and labels.max() >= len(classes):
                raise ValueError(
                    f'ShardedImages: the label {labels.max()} is in {self.root}, '
                    f"expected 0 to {len(classes) - 1} for metainfo['classes'] of "
                    f'{len(classes)}.'
                )
            self._metainfo['classes'] = tuple(classes)
