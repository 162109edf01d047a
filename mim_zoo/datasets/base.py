"""What every image dataset here shares: the pipeline, seeding, unreadable files."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from mmengine.dataset import BaseDataset
from mmengine.logging import print_log

from mim_zoo.registry import TRANSFORMS

from .image_io import UnreadableImageError
from .sampler import seeded


class TooManyUnreadableError(RuntimeError):
    """More files are unreadable than allowed; the message lists them."""


class ImageDataset(BaseDataset):
    """A list of images, serialised by MMEngine; subclasses give ``load_data_list``.

    A file that cannot be read is named in one warning, whichever worker met it. In
    training the next readable image stands in for it; with ``test_mode`` the item is
    None, which the collate function ``collate_readable`` drops. As soon as more than
    the share ``max_unreadable`` of all files is lost, TooManyUnreadableError lists
    them. A part of a data set (``get_subset``) may lose one file if the whole may.
    """

    def __init__(
        self,
        pipeline: Sequence[dict | Callable] = (),
        test_mode: bool = False,
        max_unreadable: float = 0.01,
        metainfo: Mapping | None = None,
        indices: int | Sequence[int] | None = None,
        lazy_init: bool = False,
    ) -> None:
        if not 0 <= max_unreadable <= 1:
            raise ValueError(
                'max_unreadable is a share of all files: expected 0 to 1, got '
                f'{max_unreadable}.'
            )
        self.max_unreadable = max_unreadable
        self._whole = 0  # images, before get_subset
        super().__init__(
            metainfo=metainfo,
            pipeline=[
                TRANSFORMS.build(t) if isinstance(t, dict) else t for t in pipeline
            ],
            test_mode=test_mode,
            indices=indices,
            lazy_init=lazy_init,
        )

    @property
    def CLASSES(self) -> tuple[str, ...] | None:
        """Class names by label, None if unknown."""
        return self.metainfo.get('classes')

    def full_init(self) -> None:
        """Read the list, then lay out one flag per file in shared memory."""
        if not self._fully_initialized:
            super().full_init()
            self._whole = max(len(self), self._whole)
            self._clear_flags()

    def get_subset_(self, indices: int | Sequence[int]) -> None:
        """As in BaseDataset."""
        super().get_subset_(indices)
        self._clear_flags()

    def get_subset(self, indices: int | Sequence[int]) -> BaseDataset:
        """As in BaseDataset."""
        subset = super().get_subset(indices)
        subset._clear_flags()
        return subset

    def _clear_flags(self) -> None:
        # Shared, so that what a worker finds is known to the main process.
        self._unreadable = torch.zeros(len(self), dtype=torch.uint8).share_memory_()

    def unreadable_files(self) -> list[str]:
        """``img_path`` of every file found unreadable so far, by any worker."""
        indices = self._unreadable.nonzero().flatten().tolist()
        return [self.get_data_info(index)['img_path'] for index in indices]

    def check_unreadable(self, names: Sequence[str]) -> None:
        """Raise TooManyUnreadableError if ``names`` pass the allowed share."""
        one = min(1.0, self.max_unreadable * self._whole)
        allowed = max(self.max_unreadable * len(self), one)
        if len(names) > allowed:
            raise TooManyUnreadableError(
                f'{len(names)} of {len(self)} files cannot be read; max_unreadable='
                f'{self.max_unreadable:g} allows {int(allowed)}. Fix: repair or remove '
                f'them, or raise max_unreadable.{list_names(names)}'
            )

    def __getitem__(self, idx: int) -> Any:
        """Return the packed sample; a ``Draw`` seeds the pipeline, an int does not."""
        if not self._fully_initialized:
            self.full_init()
        seed = getattr(idx, 'seed', None)
        first = range(len(self))[int(idx)]  # IndexError when outside; negative is fine
        for step in range(len(self)):
            index = (first + step) % len(self)
            if not self._unreadable[index]:
                try:
                    with seeded(seed):
                        return self.pipeline(self._info(index, seed))
                except UnreadableImageError as error:
                    # A stand-in is left to the worker that draws it, which is
                    # how each file gets one warning without a lock.
                    if step == 0:
                        self.report_unreadable(index, error)
            if self.test_mode:
                return None
        raise TooManyUnreadableError(f'none of the {len(self)} files can be read.')

    def _info(self, index: int, seed: int | None) -> dict:
        info = self.get_data_info(index)
        return info if seed is None else {**info, 'seed': seed}

    def report_unreadable(self, index: int, why: object) -> None:
        """Leave an image out from now on, warn once, and check how many there are."""
        if self._unreadable[index]:
            return
        self._unreadable[index] = 1
        print_log(
            f'Skipped an unreadable file: {why}', 'current', level=logging.WARNING
        )
        self.check_unreadable(self.unreadable_files())


def innermost(dataset: Any) -> Iterator[Any]:
    """The data sets inside MMEngine's or torch's wrappers."""
    inner = getattr(dataset, 'datasets', None) or [getattr(dataset, 'dataset', None)]
    if inner == [None]:
        yield dataset
    else:
        for part in inner:
            yield from innermost(part)


def list_names(names: Sequence[str], limit: int = 50) -> str:
    """One name per line, the count of the rest after ``limit``."""
    rest = [f'... and {len(names) - limit} more'] if len(names) > limit else []
    return ''.join(f'\n  {name}' for name in [*names[:limit], *rest])
