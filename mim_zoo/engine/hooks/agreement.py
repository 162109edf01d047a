"""Data sets of a run that mean the same, and a classifier that knows their classes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner

from mim_zoo.datasets.base import innermost
from mim_zoo.models.base import unwrap
from mim_zoo.models.classifier import Classifier
from mim_zoo.registry import HOOKS


@HOOKS.register_module()
class DataAgreementHook(Hook):
    """Stops a run whose data would be learned or measured wrongly without an error.

    Raises ValueError before training if the classes of training and evaluation differ
    (a folder without one class counts the next ones otherwise), if both hold out a
    part of one folder and not the same one, or if a ``Classifier`` has fewer classes
    than its data; before testing if the classes differ from those that a ``Classifier``
    was trained on, as its checkpoint says.
    """

    def __init__(self) -> None:
        self._learned: Any = None

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Note the classes of the data that a checkpoint was trained on."""
        meta = checkpoint.get('meta')
        data = meta.get('dataset_meta') if isinstance(meta, Mapping) else None
        self._learned = data.get('classes') if isinstance(data, Mapping) else None

    def before_train(self, runner: Runner) -> None:
        """Compare the data sets with each other, and with the model."""
        data = {'train_dataloader': runner.train_dataloader.dataset}
        if runner.val_loop is not None:
            data['val_dataloader'] = runner.val_dataloader.dataset
        check_classes({name: classes_of(dataset) for name, dataset in data.items()})
        _check_held_out(data)
        _check_model(runner, data['train_dataloader'])

    def before_test(self, runner: Runner) -> None:
        """Compare the data with the model, and with what it was trained on."""
        data = runner.test_dataloader.dataset
        if isinstance(unwrap(runner.model), Classifier):
            known = {'the checkpoint': self._learned}
            check_classes({**known, 'test_dataloader': classes_of(data)})
        _check_model(runner, data)


def classes_of(dataset: Any) -> tuple[str, ...] | None:
    """Class names by label; None if the data set does not name them."""
    return (getattr(dataset, 'metainfo', None) or {}).get('classes')


def check_classes(classes: Mapping[str, Any]) -> None:
    """ValueError unless a label means the same class in all of these, by their names.

    The shorter of two may end earlier; None is left out.
    """
    known = {name: tuple(found) for name, found in classes.items() if found is not None}
    for (one, a), (other, b) in combinations(known.items(), 2):
        for label, (first, second) in enumerate(zip(a, b)):
            if first != second:
                raise ValueError(
                    f'Label {label} is {first} in {one} ({len(a)} classes), {second} '
                    f'in {other} ({len(b)} classes), expected the same. Fix: the same '
                    'class folders in both, or metainfo=dict(classes=[...]) in both '
                    'data sets; with these, one to evaluate may lack images of a class.'
                )


def _check_held_out(data: Mapping[str, Any]) -> None:
    """ValueError if images that one loader holds out are in another one."""
    shares: dict[str, tuple[str, float]] = {}
    for name, root, share in _held_out(data):
        first, other = shares.setdefault(root, (name, share))
        if other != share:
            raise ValueError(
                f'HeldOutSplit of {root}: got share={other} in {first} and '
                f'share={share} in {name}, with which images are in both, expected one '
                'share in all of them'
            )


def _held_out(data: Mapping[str, Any]) -> Iterator[tuple[str, str, float]]:
    for name, dataset in data.items():
        for part in innermost(dataset):
            share = getattr(part, 'held_out_share', None)
            if share is not None:
                yield name, str(getattr(part, 'root', '')), share


def _check_model(runner: Runner, dataset: Any) -> None:
    """ValueError if a classifier has too few classes; a word if it has too many."""
    model, classes = unwrap(runner.model), classes_of(dataset)
    if not isinstance(model, Classifier) or classes is None:
        return
    count, wanted = model.num_classes, len(classes)
    if count < wanted:
        raise ValueError(
            f'model.num_classes: got {count}, expected {wanted}, as many as '
            f'{type(dataset).__name__} has classes; --cfg-options '
            f'model.num_classes={wanted}'
        )
    if count > wanted:
        runner.logger.warning(
            f'model.num_classes is {count}, and the data has {wanted} classes.'
        )
