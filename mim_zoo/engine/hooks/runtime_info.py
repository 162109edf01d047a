"""Losses read from the device when somebody logs them, not in every iteration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from mmengine.hooks import LoggerHook, RuntimeInfoHook
from mmengine.runner import Runner
from torch import Tensor

from mim_zoo.registry import HOOKS

LONGEST = 100  # iterations that are kept at most


@HOOKS.register_module()
class LazyRuntimeInfoHook(RuntimeInfoHook):
    """MMEngine's RuntimeInfoHook without a wait for the device per iteration.

    What the model logs of each iteration reaches the message hub together, with one
    sync, when a ``LoggerHook`` is about to read it, at the end of an epoch, before a
    checkpoint, and after 100 iterations. A hook that reads the hub in between finds the
    values of the last such time; ``default_hooks=dict(runtime_info=dict(
    type='RuntimeInfoHook'))`` reads them in every iteration.
    """

    def __init__(self) -> None:
        self._logged: list[tuple[str, Any]] = []
        self._iterations = 0

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Mapping[str, Any] | None = None,
    ) -> None:
        """Note what the model logs; hand it on when it is time."""
        self._logged += [(k, _detached(v)) for k, v in (outputs or {}).items()]
        self._iterations += 1
        due = any(
            hook.every_n_inner_iters(batch_idx, hook.interval)
            for hook in runner.hooks
            if isinstance(hook, LoggerHook)
        )
        last = self.end_of_epoch(runner.train_dataloader, batch_idx)
        if due or last or self._iterations >= LONGEST:
            self._hand_on(runner)

    def after_train(self, runner: Runner) -> None:
        """The rest of an iteration-based run."""
        self._hand_on(runner)
        super().after_train(runner)

    def before_checkpoint(self, runner: Runner) -> None:
        """A checkpoint holds the hub; ZooRunner calls this on every rank."""
        self._hand_on(runner)

    def _hand_on(self, runner: Runner) -> None:
        values = iter(_read([v for _, v in self._logged if isinstance(v, Tensor)]))
        for key, value in self._logged:
            value = next(values) if isinstance(value, Tensor) else value
            runner.message_hub.update_scalar(f'train/{key}', value)
        self._logged, self._iterations = [], 0


def _detached(value: Any) -> Any:
    """The tensor as it is now: the next step may write over it."""
    return value.detach().clone() if isinstance(value, Tensor) else value


def _read(values: list[Tensor]) -> list[float]:
    """Numbers of tensors of one element each, with one sync per device and kind."""
    found: list[float] = [0.0] * len(values)
    kinds = {(value.device, value.dtype) for value in values}
    for kind in kinds:
        places = [i for i, v in enumerate(values) if (v.device, v.dtype) == kind]
        numbers = torch.stack([values[i].reshape(()) for i in places]).tolist()
        for place, number in zip(places, numbers):
            found[place] = number
    return found
