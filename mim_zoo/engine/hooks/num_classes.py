"""Heads and data of one number of classes."""

from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner

from mim_zoo.models.base import unwrap
from mim_zoo.registry import HOOKS

from .agreement import classes_of


@HOOKS.register_module()
class NumClassesHook(Hook):
    """Stops a detector or segmenter whose heads and data disagree about the classes.

    With too few in a head, a class would be learned as background, without an error.
    Raises ValueError that names both, before training, validation and testing.
    """

    def before_train(self, runner: Runner) -> None:
        """Check against the training data."""
        _check(runner, runner.train_dataloader)

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
