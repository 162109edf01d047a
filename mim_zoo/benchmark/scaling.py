"""What a training step costs over batches, image sizes, depths, or processes."""

import os
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from mim_zoo.models.stages import HIERARCHICAL_ARCHS
from mim_zoo.models.vit_options import ARCHS

from .compare import Schedule, rates
from .measured import Work
from .sides import Side
from .step import Stepper
from .workers import Worker, together

AXES = ('batch', 'image-size', 'depth', 'processes')


@dataclass(frozen=True)
class Point:
    """One measurement: so many processes do ``work`` each, and share gradients."""

    value: int
    side: Side
    work: Work
    processes: int = 1


def points(axis: str, values: Sequence[int], side: Side, work: Work) -> list[Point]:
    """A point per value of an axis, all else the same.

    The batch is that of one process: processes together have a larger one. On a CPU
    they divide the threads among them. Raises ValueError for a value that cannot be.
    """
    if min(values) < 1:
        raise ValueError(f'--values: got {min(values)}, expected numbers of 1 or more')
    if axis == 'batch':
        return [Point(n, side, replace(work, batch=n)) for n in values]
    if axis == 'image-size':
        return [Point(n, with_backbone(side, img_size=n), work) for n in values]
    if axis == 'depth':
        return [Point(n, with_depth(side, n), work) for n in values]
    return [Point(n, side, shared(work, n), n) for n in values]


def shared(work: Work, processes: int) -> Work:
    """What each of some processes does: a GPU each, or its part of the threads."""
    threads = work.threads or os.cpu_count() or 1
    most = threads if work.device == 'cpu' else torch.cuda.device_count()
    if processes > most:
        what = 'thread' if work.device == 'cpu' else 'GPU'
        raise ValueError(
            f'--values: got {processes} processes, expected {most} at most, one per '
            f'{what}'
        )
    return replace(work, threads=threads // processes) if work.device == 'cpu' else work


def of_rank(work: Work, rank: int) -> Work:
    """The work of one process: images of its own, the GPU of its number if any."""
    gpu = work.device == 'cuda'
    return replace(
        work, seed=work.seed + rank, device=f'cuda:{rank}' if gpu else work.device
    )


def with_depth(side: Side, depth: int) -> Side:
    """The encoder with so many blocks; a hierarchy, so many in its longest stage."""
    arch = side.model['backbone'].get('arch', 'base')
    if isinstance(arch, str):
        hierarchy = side.model['backbone']['type'].endswith('MixMIMViT')
        arch = (HIERARCHICAL_ARCHS if hierarchy else ARCHS)[arch]
    if 'depths' in arch:
        depths = list(arch['depths'])
        depths[depths.index(max(depths))] = depth
        return with_backbone(side, arch={**arch, 'depths': tuple(depths)})
    return with_backbone(side, arch={**arch, 'depth': depth})


def with_backbone(side: Side, **changes: Any) -> Side:
    """The same with other settings of the encoder."""
    backbone = {**side.model['backbone'], **changes}
    return replace(side, model={**side.model, 'backbone': backbone})


def measure_points(
    axis: str,
    values: Sequence[int],
    side: Side,
    work: Work,
    schedule: Schedule,
    peak_tflops: float | None = None,
) -> dict[str, Any]:
    """Measure the points one after the other: dict(axis=..., points=[...])."""
    measured = [
        dict(value=point.value, **measure_point(point, schedule, peak_tflops))
        for point in points(axis, values, side, work)
    ]
    return dict(axis=axis, config=side.config, options=side.options, points=measured)


def meet(workers: Sequence[Worker], file: Path) -> None:
    """Have them share gradients from now on."""
    for rank, worker in enumerate(workers):
        worker.ask('join', rank, len(workers), str(file))
    for worker in workers:
        worker.answer()


def measure_point(
    point: Point, schedule: Schedule, peak_tflops: float | None = None
) -> dict[str, Any]:
    """Times of the slowest process, rates of all together, the memory of the first."""
    count = point.processes
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        workers = [
            stack.enter_context(
                Worker(f'process {n}', Stepper, point.side, of_rank(point.work, n))
            )
            for n in range(count)
        ]
        facts = workers[0].call('facts')
        if count > 1:
            meet(workers, folder / 'meeting')
        together(workers, 'prepare', facts['image_shape'], schedule.warm_up)
        seconds = [
            max(together(workers, 'run', schedule.steps)) for _ in range(schedule.pairs)
        ]
        found = together(workers, 'result')[0]
        together(workers, 'leave')
        flops = workers[0].call('flops_per_image')
    batch = point.work.batch * count
    devices = count if point.work.device == 'cuda' else 1
    peak = peak_tflops * devices if peak_tflops else None
    return dict(
        **facts,
        **found,
        batch=batch,
        processes=count,
        **rates(seconds, batch, flops, peak),
    )
