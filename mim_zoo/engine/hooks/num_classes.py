"""Heads and data of one number of classes."""

from typing import Any

from mmengine.fileio import load
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mim_zoo.datasets.base import innermost
from mim_zoo.models.base import unwrap
from mim_zoo.registry import HOOKS

from .agreement import classes_of


@HOOKS.register_module()
class NumClassesHook(Hook):
    """Stops a detector or segmenter whose heads and data disagree about the classes.

    With too few in a head, a class would be learned as background, without an error; so
    would the boxes of a class that the annotations call otherwise. Raises ValueError
    that names both, before training, validation and testing, and for a mask with values
    that are no class.
    """

    def before_train(self, runner: Runner) -> None:
        """Check against the data of training and of validation."""
        _check(runner, runner.train_dataloader)
        if runner.val_loop is not None:
            _check(runner, runner.val_dataloader)

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None
    ) -> None:
        """Check the masks of a segmenter, here on the CPU."""
        head: Any = getattr(unwrap(runner.model), 'decode_head', None)
        if hasattr(head, 'ignore_index'):  # mmseg's cascades have a list of heads
            for sample in data_batch['data_samples']:
                _check_mask(sample, head.num_classes, head.ignore_index)

    def before_val(self, runner: Runner) -> None:
        """Check against the validation data."""
        _check(runner, runner.val_dataloader)

    def before_test(self, runner: Runner) -> None:
        """Check against the test data."""
        _check(runner, runner.test_dataloader)


def _check(runner: Runner, loader: Any) -> None:
    classes = classes_of(loader.dataset)
    if classes is None:
        return
    for dataset in innermost(loader.dataset):
        _check_categories(dataset)
    for name, module in unwrap(runner.model).named_modules():
        count = getattr(module, 'num_classes', None)
        if 'rpn' in name or not isinstance(count, int):  # a region or none: one class
            continue
        if count != len(classes):
            raise ValueError(
                f'model.{name}: got num_classes={count}, expected {len(classes)}, as '
                f'many as {type(loader.dataset).__name__} has: {", ".join(classes)}. '
                f'Fix: num_classes={len(classes)} in each head, or other classes by '
                'dataset.metainfo=dict(classes=(...)).'
            )


def _check_categories(dataset: Any) -> None:
    """ValueError if annotations like COCO's know a class by no such name."""
    classes, found = (
        dataset.metainfo.get('classes') or (),
        getattr(dataset, 'cat_ids', ()),
    )
    if not found or len(found) == len(classes):
        return
    named = [category['name'] for category in load(dataset.ann_file)['categories']]
    raise ValueError(
        f'{dataset.ann_file}: got the categories {", ".join(named)}, expected '
        f'{", ".join(name for name in classes if name not in named)} among them, which '
        "the data set's metainfo.classes names. Fix: write it as the file does, or "
        'leave it out there and in num_classes'
    )


def _check_mask(sample: Any, classes: int, ignored: int) -> None:
    """ValueError if the mask of an image holds a value that is no class."""
    mask = sample.gt_sem_seg.data
    wrong = mask[(mask >= classes) & (mask != ignored)]
    if len(wrong):
        values = wrong.unique().tolist()
        raise ValueError(
            f'{sample.seg_map_path}: got the values {values[:8]}, expected 0 to '
            f'{classes - 1}, one per class, or {ignored} where nothing counts. Fix: '
            'the masks, or num_classes of the heads and metainfo.classes of the data'
        )
