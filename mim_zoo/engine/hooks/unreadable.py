"""Say at the end of an epoch which files could not be read."""

import logging
from collections.abc import Iterator
from typing import Any

from mmengine.dist import all_gather_object
from mmengine.hooks import Hook
from mmengine.logging import print_log

from mim_zoo.datasets.base import ImageDataset, list_names
from mim_zoo.registry import HOOKS


@HOOKS.register_module()
class UnreadableFilesHook(Hook):
    """Count and name the unreadable files after each epoch, over workers and ranks.

    Raises TooManyUnreadableError on every rank when all ranks together lost more than
    the dataset allows.
    """

    def after_train_epoch(self, runner: Any) -> None:
        """Report the training set."""
        self._report(runner.train_loop, 'training')

    def after_val_epoch(self, runner: Any, metrics: dict | None = None) -> None:
        """Report the validation set."""
        self._report(runner.val_loop, 'validation')

    def after_test_epoch(self, runner: Any, metrics: dict | None = None) -> None:
        """Report the test set."""
        self._report(runner.test_loop, 'test')

    def _report(self, loop: Any, which: str) -> None:
        for dataset in image_datasets(loop.dataloader.dataset):
            found = all_gather_object(dataset.unreadable_files())
            names = sorted({name for of_rank in found for name in of_rank})
            if names:
                print_log(
                    f'{len(names)} of {len(dataset)} {which} files could not be read '
                    f'and were skipped so far:{list_names(names)}',
                    'current',
                    level=logging.WARNING,
                )
                dataset.check_unreadable(names)


def image_datasets(dataset: Any) -> Iterator[ImageDataset]:
    """Every ImageDataset inside MMEngine's or torch's dataset wrappers."""
    if isinstance(dataset, ImageDataset):
        yield dataset
    inner = getattr(dataset, 'datasets', None) or [getattr(dataset, 'dataset', None)]
    for part in inner:
        if part is not None:
            yield from image_datasets(part)
