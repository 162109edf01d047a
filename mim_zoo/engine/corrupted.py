"""Measuring a classifier on corrupted images."""

import copy
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from mmengine.runner import Runner

from mim_zoo.evaluation.corruptions import Errors

METRIC = 'accuracy/top1'
IMAGENET_CLASSES, IMAGENET_IMAGES = 1000, 50_000


def measure_corrupted(
    runner: Runner, names: Sequence[str], severities: Sequence[int], share: float = 1.0
) -> Errors:
    """Top-1 errors in percent on each corrupted version of the test images.

    ``share``: of every class's images, the same ones in each version.

    The runner has tested the images as they are, so that its model is loaded. Raises
    ValueError if its metrics have no ``accuracy/top1``.
    """
    return {
        name: {
            severity: _error(runner, name, severity, share)
            for severity in sorted(severities)
        }
        for name in names
    }


def is_imagenet(runner: Runner) -> bool:
    """Whether it tests on 50,000 images of 1000 classes, as ImageNet's validation."""
    classes = runner.cfg.model.get('num_classes')
    images = len(runner.test_loop.dataloader.dataset)
    return classes == IMAGENET_CLASSES and images == IMAGENET_IMAGES


def _error(runner: Runner, name: str, severity: int, share: float) -> float:
    loop = runner.test_loop
    loader = with_corruption(runner.cfg.test_dataloader, name, severity)
    if share != 1:
        loader['dataset'] = dict(
            type='ClassShare', dataset=loader['dataset'], share=share
        )
    loop.dataloader = runner.build_dataloader(loader, seed=runner.seed)
    runner.logger.info(f'Corruption {name}, severity {severity}')
    metrics = loop.run()
    if METRIC not in metrics:
        raise ValueError(
            f'corruptions: the metrics are {", ".join(metrics)}, expected {METRIC} '
            'among them; measure a classifier'
        )
    return 100 - metrics[METRIC]


def with_corruption(loader: dict, name: str, severity: int) -> dict:
    """A copy of a dataloader's config that corrupts each image before it is packed.

    ValueError if none of its pipelines ends with ``PackInputs``.
    """
    changed = copy.deepcopy(loader)
    pipelines = list(_pipelines(changed))
    if not pipelines:
        raise ValueError(
            'corruptions: got a test_dataloader without a pipeline that ends with '
            'PackInputs, expected one to put the corruption into'
        )
    for pipeline in pipelines:
        step = dict(type='Corrupt', name=name, severity=severity)
        pipeline.insert(len(pipeline) - 1, step)
    return changed


def _pipelines(node: Any) -> Iterator[list]:
    children: Iterable = ()
    if isinstance(node, dict):
        children = node.values()
    elif isinstance(node, list):
        children = node
        last = node[-1] if node else None
        if isinstance(last, dict) and _bare(last.get('type')) == 'PackInputs':
            yield node
    for child in children:
        yield from _pipelines(child)


def _bare(kind: Any) -> str:
    """A type's name without a scope."""
    return str(kind).rpartition('.')[2]
