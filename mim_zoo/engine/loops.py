"""Loops that go on inside an epoch, and that skip batches nobody could read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from mmengine.dist import get_world_size
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop, Runner
from mmengine.runner import TestLoop as MMEngineTestLoop
from mmengine.runner import ValLoop as MMEngineValLoop
from torch.utils.data import DataLoader

from mim_zoo.registry import LOOPS

from .sharding import check_batches_alike, has_images

_WHERE = (  # what decides which images a data set finds
    'data_root',
    'ann_file',
    'data_prefix',
    'img_suffix',
    'seg_map_suffix',
    'metainfo',
    'filter_cfg',
)
TO_ZERO = ('PolyLR', 'CosineAnnealingLR')  # unless told where to end


def batch_size_of(loader: DataLoader) -> int | None:
    """Samples per batch of one process; None if its batch sampler does not say."""
    if loader.batch_size is not None:
        return loader.batch_size
    return getattr(loader.batch_sampler, 'batch_size', None)


def sampler_of(loader: DataLoader) -> Any:
    """The sampler of single indices, also inside a batch sampler."""
    return getattr(loader.batch_sampler, 'sampler', loader.sampler)


def layout_of(loader: DataLoader) -> dict[str, int | None]:
    """What a position inside an epoch is measured in: batches and samples."""
    size = batch_size_of(loader)
    return {
        'batches': _length(loader),
        'global_batch': None if size is None else size * get_world_size(),
        'samples': _length(loader.dataset),
    }


def too_late(schedule: Any, ends: Mapping[str, int]) -> tuple[str, str] | None:
    """Which part of the schedule begins where the run has ended, in words.

    Also what it counts in, a key of ``ends``: 'epoch' or 'iteration'. A part that says
    in which iteration it ends may begin after the run: a trial of a few iterations.
    """
    for part in schedule if isinstance(schedule, list) else [schedule]:
        if not isinstance(part, dict):
            continue
        unit = 'epoch' if part.get('by_epoch', True) else 'iteration'
        if unit == 'iteration' and 'end' in part:
            continue
        begin, end = part.get('begin', 0), ends.get(unit)
        if end is not None and begin >= end:
            many = f'{end} {unit}{"s" * (end != 1)}'
            kind = part.get('type')
            return f'{kind} begins after {unit} {begin}, but the run has {many}', unit
    return None


def too_early(schedule: Any, ends: Mapping[str, int]) -> tuple[str, int] | None:
    """In words, if the last part ends at a rate of 0 before the run does.

    Also the end of the run in what the part counts in.
    """
    part = schedule[-1] if isinstance(schedule, list) and schedule else schedule
    if not isinstance(part, dict) or part.get('type') not in TO_ZERO:
        return None
    unit = 'epoch' if part.get('by_epoch', True) else 'iteration'
    end, last = part.get('end', ends[unit]), ends[unit]
    if end >= last or part.get('eta_min') or part.get('eta_min_ratio'):
        return None
    words = f'{part["type"]} ends at a rate of 0 after {unit} {end}'
    return f'{words}, but the run has {last}', last


def check_schedule(schedule: Any, max_epochs: int, max_iters: int) -> None:
    """ValueError if a part of the schedule begins where the run has ended.

    Also if the rate is 0 from before the end on.
    """
    ends = dict(epoch=max_epochs, iteration=max_iters)
    if found := too_late(schedule, ends):
        problem, unit = found
        if unit == 'iteration' and max_iters < 2:
            raise ValueError(f'{problem}: there is no room for a warm-up; train longer')
        place = max(1, max_iters // 4) if unit == 'iteration' else max_epochs / 4
        raise ValueError(
            f'{problem}: a shorter run needs a shorter warm-up, such as --cfg-options '
            f'param_scheduler.0.end={place:g} param_scheduler.1.begin={place:g}'
        )
    if early := too_early(schedule, ends):
        problem, last = early
        part = f'.{len(schedule) - 1}' if isinstance(schedule, list) else ''
        raise ValueError(
            f'{problem}: a longer run needs a longer schedule, --cfg-options '
            f'param_scheduler{part}.end={last}'
        )


def check_batches(loader: DataLoader) -> None:
    """ValueError if ``drop_last`` leaves this loader no batch at all."""
    drops = getattr(loader.batch_sampler, 'drop_last', False)
    if not drops or _length(loader) != 0:
        return
    size, ranks = batch_size_of(loader), get_world_size()
    raise ValueError(
        f'A data set of {_length(loader.dataset)} images gives no batch: batch_size='
        f'{size} on each of {ranks} process(es) takes {int(size or 0) * ranks} images, '
        'and drop_last=True drops what is left over. Fix: a smaller batch_size (at '
        f'most {len(sampler_of(loader))}), drop_last=False, or more images.'
    )


@contextmanager
def says_what_is_empty(loader: Any) -> Iterator[None]:
    """ValueError with the settings of a data set in which MMEngine finds no image."""
    try:
        yield
    except ValueError as error:
        if 'need at least one array to concatenate' not in str(error):
            raise
        part = loader['dataset']
        while isinstance(part.get('dataset'), Mapping):
            part = part['dataset']
        settings = [f'{key}={part[key]!r}' for key in _WHERE if part.get(key)]
        raise ValueError(
            f'{part.get("type")}: got no image by {", ".join(settings)}; expected one '
            'or more with annotations. Fix: the folders, the suffixes of images and '
            'masks, and the names of classes, which must be those of the annotations.'
        ) from error


def _length(data: Any) -> int | None:
    try:
        return len(data)
    except TypeError:  # a stream
        return None


def relocate(
    epoch: int, iteration: int, was: dict[str, int | None], now: dict[str, int | None]
) -> int:
    """The iteration of ``now``'s layout at which as many samples were seen.

    Raises ValueError when the position lies between two of its batches.
    """
    old_batches, new_batches = int(was['batches'] or 0), int(now['batches'] or 0)
    position = iteration - epoch * old_batches
    if position in (0, old_batches):  # the beginning or the end: no samples to split
        return epoch * new_batches + (new_batches if position else 0)
    change = f'The training data was {_text(was)} and is now {_text(now)}'
    fix = (
        'Resume with the former batch size, number of processes and data, or from a '
        'checkpoint at the end of an epoch (load_from=PATH with resume=True).'
    )
    old, new = was['global_batch'], now['global_batch']
    if was['samples'] != now['samples'] or old is None or new is None:
        raise ValueError(
            f'{change}: batch {position} of epoch {epoch + 1}, where the checkpoint '
            f'was written, cannot be found in it. {fix}'
        )
    seen = position * old
    if seen % new or seen // new > new_batches:
        raise ValueError(
            f'{change}: the checkpoint was written after {seen} samples of epoch '
            f'{epoch + 1}, which is no whole number of batches of {new}. {fix}'
        )
    return epoch * new_batches + seen // new


def _text(layout: dict[str, int | None]) -> str:
    batch = layout['global_batch'] or 'an unknown number of'
    return f'{layout["batches"]} batches of {batch} of {layout["samples"]} samples'


@LOOPS.register_module()
class EpochTrainLoop(EpochBasedTrainLoop):
    """MMEngine's loop by epoch; its first epoch starts where a checkpoint was written.

    The sampler skips what was seen (``set_start``): nothing is loaded to be dropped.
    """

    def run_epoch(self) -> None:
        """Run what is left of this epoch, which may be nothing but its hooks."""
        batches = len(self.dataloader)
        start = self._iter - self._epoch * batches
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        if start:
            self._skip(start)
        if start < batches:
            for index, batch in enumerate(self.dataloader, start):
                self.run_iter(index, batch)
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1

    def _skip(self, batches: int) -> None:
        if batches == len(self.dataloader):
            return
        sampler, size = sampler_of(self.dataloader), batch_size_of(self.dataloader)
        if not hasattr(sampler, 'set_start') or size is None:
            raise ValueError(
                f'Cannot resume at batch {batches} of epoch {self._epoch + 1}: '
                f'{type(sampler).__name__} cannot start inside an epoch. Use '
                "sampler=dict(type='EpochSampler') without a batch_sampler, or resume "
                'from a checkpoint at the end of an epoch.'
            )
        self.runner.logger.info(
            f'Epoch {self._epoch + 1} goes on after its batch {batches} of '
            f'{len(self.dataloader)}.'
        )
        sampler.set_start(batches * size)


def evaluate_first(runner: Runner) -> None:
    """Evaluate what a resumed run begins with, if it was time to.

    The former run may have ended between that checkpoint and its evaluation. A loop
    that is none of MMEngine's kinds does so itself, if it wants to.
    """
    loop = runner.train_loop
    if runner.iter == 0 or runner.val_loop is None:
        return
    if isinstance(loop, EpochBasedTrainLoop):
        if loop.iter != loop.epoch * len(loop.dataloader):
            return
        done, last = loop.epoch, loop.max_epochs
    elif isinstance(loop, IterBasedTrainLoop):
        done, last = loop.iter, loop.max_iters
    else:
        return
    loop._decide_current_val_interval()
    if done >= loop.val_begin and (done % loop.val_interval == 0 or done == last):
        runner.val_loop.run()


class _Evaluation:
    """What both loops of evaluation add to MMEngine's."""

    runner: Runner
    dataloader: DataLoader

    def run(self) -> dict:
        """Evaluate; the metrics."""
        check_batches_alike(self.runner.model, self.dataloader)
        return super().run()  # type: ignore[misc]

    def run_iter(self, idx: int, data_batch: Any) -> None:
        """Evaluate one batch, unless nothing is in it."""
        if has_images(self.runner.model, data_batch):
            super().run_iter(idx, data_batch)  # type: ignore[misc]


@LOOPS.register_module()
class ValLoop(_Evaluation, MMEngineValLoop):
    """MMEngine's; a batch ``{}``, all its images unreadable, reaches nobody."""


@LOOPS.register_module()
class TestLoop(_Evaluation, MMEngineTestLoop):
    """MMEngine's; a batch ``{}``, all its images unreadable, reaches nobody."""

    __test__ = False  # no test case of pytest's
