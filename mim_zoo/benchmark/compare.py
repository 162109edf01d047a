"""Sides in turn on one machine, and what follows from the times."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import median
from typing import Any

from .measured import Measured, Work
from .sides import Side
from .workers import Worker


@dataclass(frozen=True)
class Schedule:
    """How often: timings per side, times in one timing, times before the first."""

    pairs: int = 5
    steps: int = 1
    warm_up: int = 2

    def __post_init__(self) -> None:
        for name in ('pairs', 'steps', 'warm_up'):
            if getattr(self, name) < 1:
                option = f'--{name.replace("_", "-")}'
                raise ValueError(
                    f'{option}: got {getattr(self, name)}, expected 1 or more'
                )


def turns(pairs: int, sides: int) -> list[list[int]]:
    """The order of the sides in each pair: forth, back, forth (ABBA)."""
    forth = list(range(sides))
    return [forth if pair % 2 == 0 else forth[::-1] for pair in range(pairs)]


def ratios(ours: Sequence[float], other: Sequence[float]) -> dict[str, Any]:
    """How many times as fast ours is, pair by pair: seconds of the other over ours."""
    pairs = [b / a for a, b in zip(ours, other, strict=True)]
    return dict(median=median(pairs), min=min(pairs), max=max(pairs), pairs=pairs)


def compare(
    kind: type[Measured],
    sides: Sequence[Side],
    work: Work,
    schedule: Schedule,
    peak_tflops: float | None = None,
    profile_rows: int = 0,
) -> dict[str, Any]:
    """Measure the first side, or it against a second one: ``kind(side, work)``.

    Each lives in its own process; one computes at a time. Returns dict(sides=[...]),
    of two sides also speed_ratio (above 1: the first is faster) and memory_ratio
    (below 1: the first needs less).
    """
    measured = [
        {
            **dict(name=side.name, config=side.config, options=side.options),
            **found,
            **rates(found['seconds'], work.batch, flops, peak_tflops),
            'profile': profile,
        }
        for side, (found, flops, profile) in zip(
            sides, _measure(kind, sides, work, schedule, profile_rows)
        )
    ]
    out: dict[str, Any] = dict(sides=measured)
    if len(measured) > 1:
        peaks = [one['memory']['peak_mib'] for one in measured]
        out['speed_ratio'] = ratios(*(one['seconds'] for one in measured))
        out['memory_ratio'] = peaks[0] / peaks[1] if all(peaks) else None
    return out


def _measure(
    kind: type[Measured],
    sides: Sequence[Side],
    work: Work,
    schedule: Schedule,
    profile_rows: int,
) -> list[tuple[dict[str, Any], float, list[dict[str, Any]] | None]]:
    """Of each side: facts, results and seconds; operations per image; profile."""
    with ExitStack() as stack:
        workers = [
            stack.enter_context(Worker(side.name, kind, side, work)) for side in sides
        ]
        facts = [worker.call('facts') for worker in workers]
        shape = facts[0]['image_shape']
        for worker in workers:
            worker.call('prepare', shape, schedule.warm_up)
        seconds: list[list[float]] = [[] for _ in workers]
        for turn in turns(schedule.pairs, len(workers)):
            for i in turn:
                seconds[i].append(workers[i].call('run', schedule.steps))
        results = [worker.call('result') for worker in workers]
        profiles = [
            worker.call('profile', profile_rows) if profile_rows else None
            for worker in workers
        ]
        flops = [worker.call('flops_per_image') for worker in workers]
    found = [
        {**fact, 'image_shape': list(shape), **result, 'seconds': times}
        for fact, result, times in zip(facts, results, seconds)
    ]
    return list(zip(found, flops, profiles))


def rates(
    seconds: Sequence[float],
    batch: int,
    flops_per_image: float,
    peak_tflops: float | None,
) -> dict[str, Any]:
    """What follows from a side's seconds of one time; mfu is a share of the peak."""
    per_second = batch / median(seconds)
    mfu = None
    if peak_tflops:
        mfu = flops_per_image * per_second / (peak_tflops * 1e12)
    return dict(
        seconds=list(seconds),
        ms_per_step=1e3 * median(seconds),
        images_per_second=per_second,
        gflops_per_image=flops_per_image / 1e9,
        mfu=mfu,
    )
