"""Learning rates of pre-training in stages."""

import math
from collections.abc import Sequence
from typing import Any

from mmengine.optim.scheduler.lr_scheduler import LRSchedulerMixin
from mmengine.optim.scheduler.param_scheduler import INF, _ParamScheduler

from ..registry import PARAM_SCHEDULERS


def warmup_cosine(step: float, warmup: float, length: float) -> float:
    """Share of the peak: 0 to 1 linearly over the warm-up, then to 0 as half a cosine.

    ``step`` counts from the beginning of a stage of so many steps.
    """
    if step < warmup:
        return step / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / (length - warmup)))


@PARAM_SCHEDULERS.register_module()
class StagedCosineLR(LRSchedulerMixin, _ParamScheduler):
    """A warm-up and a cosine of its own in every stage (dBOT, 2209.03917).

    MMEngine's warm-up multiplies the rate it finds, and so cannot start again from a
    cosine's end.

    Args:
        warmup: length of the warm-up of each stage, from a rate of 0.
        boundaries: where later stages begin, as in ``BootstrapHook``; none for one.
        eta_min: what each cosine ends at.
    """

    def __init__(
        self,
        optimizer: Any,
        warmup: int,
        boundaries: Sequence[int] = (),
        eta_min: float = 0.0,
        begin: int = 0,
        end: int = INF,
        last_step: int = -1,
        by_epoch: bool = True,
        verbose: bool = False,
    ):
        self.warmup = warmup
        self.starts = [begin, *boundaries]
        self.eta_min = eta_min
        lengths = [b - a for a, b in zip(self.starts, [*boundaries, end])]
        if end == INF or min(lengths) <= warmup or warmup < 0:
            raise ValueError(
                f'StagedCosineLR: got warmup={warmup} and stages of {lengths} '
                f'{"epochs" if by_epoch else "iterations"}, expected an end, and a '
                'warm-up shorter than each stage; change warmup or boundaries'
            )
        super().__init__(
            optimizer,
            begin=begin,
            end=end,
            last_step=last_step,
            by_epoch=by_epoch,
            verbose=verbose,
        )

    @classmethod
    def build_iter_from_epoch(
        cls,
        *args: Any,
        warmup: int,
        boundaries: Sequence[int] = (),
        begin: int = 0,
        end: int = INF,
        by_epoch: bool = True,
        epoch_length: int | None = None,
        **kwargs: Any,
    ) -> 'StagedCosineLR':
        """The same schedule in iterations; MMEngine's ``convert_to_iter_based``."""
        if not by_epoch or not epoch_length:
            raise ValueError(
                'StagedCosineLR: convert_to_iter_based expects by_epoch=True and a '
                f'data set with batches, got {by_epoch} and {epoch_length} batches'
            )
        return cls(  # type: ignore[misc]
            *args,
            warmup=int(warmup * epoch_length),
            boundaries=[int(b * epoch_length) for b in boundaries],
            begin=int(begin * epoch_length),
            end=int(end * epoch_length),
            by_epoch=False,
            **kwargs,
        )

    def _get_value(self) -> list[float]:
        step = self.begin + self.last_step
        start = max(s for s in self.starts if s <= step)
        after = [s for s in self.starts if s > step]
        end = min(after) if after else self.end
        share = warmup_cosine(step - start, self.warmup, end - start)
        return [self.eta_min + (v - self.eta_min) * share for v in self.base_values]
