"""The learning rate for the batch that a run really has."""

from typing import Any

from mmengine.runner import Runner

from mim_zoo.datasets.base import innermost
from mim_zoo.datasets.repeat import RepeatedDraws

from .loops import batch_size_of
from .resuming import wrappers_of


def scale_rates(runner: Runner, base: int | None) -> None:
    """Scale by processes x batch x accumulation, over ``base``, and say so.

    The batch is what the model sees, with every draw of ``RepeatedDraws``.
    Raises ValueError without a base, if the loader does not tell its batch size, or if
    its parts draw differently often.
    """
    if not base or base < 0:
        raise ValueError(
            'auto_scale_lr needs the batch size that the learning rate was set '
            f'for, got base_batch_size={base}; write auto_scale_lr=dict('
            'enable=True, base_batch_size=256) or leave out --auto-scale-lr.'
        )
    size = batch_size_of(runner.train_dataloader)
    if size is None:
        raise ValueError(
            'auto_scale_lr: the batch sampler '
            f'{type(runner.train_dataloader.batch_sampler).__name__} does not say '
            'its batch_size; set the learning rate by hand.'
        )
    draws = _draws(runner.train_dataloader.dataset)
    each = f'{size}' if draws == 1 else f'{size} x {draws} draws'
    for wrapper in wrappers_of(runner).values():
        counts = wrapper._accumulative_counts
        batch = runner.world_size * size * draws * counts
        groups = wrapper.param_groups
        before = groups[-1]['lr']
        for group in groups:
            group['lr'] *= batch / base
        runner.logger.info(
            f'Learning rate {before:g} -> {groups[-1]["lr"]:g}: effective batch '
            f'{batch} = {runner.world_size} processes x {each} x {counts} '
            f'accumulated, base_batch_size {base}.'
        )


def _draws(dataset: Any) -> int:
    """How often a batch holds an image of a data set, which may wrap others."""
    found = sorted({_draws_of(part) for part in innermost(dataset)})
    if len(found) > 1:
        raise ValueError(
            f'auto_scale_lr: the parts of the training data draw {found} times from an '
            'image (RepeatedDraws), expected one number; set the learning rate by hand.'
        )
    return found[0]


def _draws_of(dataset: Any) -> int:
    steps = getattr(getattr(dataset, 'pipeline', None), 'transforms', None) or ()
    return next((step.times for step in steps if isinstance(step, RepeatedDraws)), 1)
