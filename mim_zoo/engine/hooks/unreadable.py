"""Say at the end of an epoch which files could not be read."""

import logging
from typing import Any

from mmengine.dist import all_gather_object
from mmengine.hooks import Hook
from mmengine.logging import print_log

from mim_zoo.datasets.base import ImageDataset, innermost, list_names
from mim_zoo.models.base import unwrap
from mim_zoo.registry import HOOKS


@HOOKS.register_module()
class UnreadableFilesHook(Hook):
    """Count and name the unreadable files after each epoch, over workers and ranks.

    Files that only the device found broken (``CropOnDevice``) are left out from then
    on, as those that a worker cannot read.

    Raises TooManyUnreadableError on every rank when all ranks together lost more than
    the dataset allows.
    """

    def after_train_iter(
        self,
        runner: Any,
        batch_idx: int,
        data_batch: Any = None,
        outputs: dict | None = None,
    ) -> None:
        """Tell the data sets what the data preprocessor could not decode."""
        preprocessor = getattr(unwrap(runner.model), 'data_preprocessor', None)
        for name in getattr(preprocessor, 'broken', ()):
            index = int(data_batch['sample_idx'][data_batch['img_path'].index(name)])
            for dataset in image_datasets(runner.train_loop.dataloader.dataset):
                inside = index < len(dataset)
                if inside and dataset.get_data_info(index)['img_path'] == name:
                    dataset.report_unreadable(index, f'{name}: its pixels are broken')

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


def image_datasets(dataset: Any) -> list[ImageDataset]:
    """Every ImageDataset inside MMEngine's or torch's dataset wrappers."""
    return [part for part in innermost(dataset) if isinstance(part, ImageDataset)]
