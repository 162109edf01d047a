"""Stopping at a loss that is not a number, before it reaches a checkpoint."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import all_gather_object, all_reduce, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor

from mim_zoo.registry import HOOKS

from ..checkpoint import newest_whole_checkpoint
from ..sharding import local

DUMP = 'non_finite_batch.json'
_SHOWN = 4


class NonFiniteLossError(RuntimeError):
    """The loss or the weights became NaN or infinite; the message says where."""


@dataclass
class _Step:
    iteration: int  # counted from 1, as in the log
    lr: float
    paths: list[str]
    loss: Tensor


@HOOKS.register_module()
class NonFiniteLossHook(Hook):
    """Stops all processes when the loss of one is NaN or infinite.

    Losses of the last ``interval`` iterations are tested together, with one sync; also
    at the end of an epoch and, with the weights, before any checkpoint is written.
    """

    priority = 'ABOVE_NORMAL'  # sees the learning rate before the schedulers step

    def __init__(self, interval: int = 10) -> None:
        if interval < 1:
            raise ValueError(
                f'NonFiniteLossHook: interval counts iterations, got {interval}.'
            )
        self.interval = interval
        self._steps: deque[_Step] = deque(maxlen=interval)

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Mapping[str, Any] | None = None,
    ) -> None:
        """Note this iteration; test the last ones when it is time."""
        lr = max(map(max, runner.optim_wrapper.get_lr().values()))
        batch = data_batch if isinstance(data_batch, Mapping) else {}
        loss = torch.as_tensor((outputs or {}).get('loss', 0.0)).detach().float()
        paths = list(batch.get('img_path', ()))
        self._steps.append(_Step(runner.iter + 1, lr, paths, loss))
        if self.every_n_train_iters(runner, self.interval):
            self._check(runner)

    def after_train_epoch(self, runner: Runner) -> None:
        """Test before checkpoints and validation."""
        self._check(runner)

    @torch.no_grad()
    def before_checkpoint(self, runner: Runner) -> None:
        """Test losses and weights; ZooRunner calls this on every rank."""
        self._check(runner)
        weights = [local(p).isfinite().all() for p in runner.model.parameters()]
        bad = (~torch.stack(weights).all()).int() if weights else torch.tensor(0)
        all_reduce(bad, 'max')
        if bad and self._steps:
            self._stop(
                runner, self._steps[-1], 'the weights are no longer finite after'
            )

    def _check(self, runner: Runner) -> None:
        if not self._steps:
            return
        bad = (~torch.stack([step.loss for step in self._steps]).isfinite()).int()
        all_reduce(bad, 'max')
        if (flags := bad.tolist()).count(1):  # the one sync
            step = self._steps[flags.index(1)]
            self._stop(runner, step, 'the loss is not finite at')

    def _stop(self, runner: Runner, step: _Step, what: str) -> None:
        losses = all_gather_object(step.loss.item())
        files = all_gather_object(step.paths)
        dump = Path(runner.work_dir) / DUMP
        report = {
            'iteration': step.iteration,
            'epoch': (step.iteration - 1) // len(runner.train_dataloader) + 1,
            'lr': step.lr,
            'ranks': [{'loss': str(v), 'files': f} for v, f in zip(losses, files)],
        }
        if is_main_process():
            text = json.dumps(report, indent=2, ensure_ascii=False)
            dump.write_text(text, encoding='utf-8', errors='backslashreplace')
        names = [name for part in files for name in part]
        more = f' and {len(names) - _SHOWN} more' if len(names) > _SHOWN else ''
        checkpoint = newest_whole_checkpoint(runner.work_dir)
        raise NonFiniteLossError(
            f'Training stopped: {what} iteration {step.iteration} (epoch '
            f'{report["epoch"]}), loss {", ".join(map(str, losses))}, learning rate '
            f'{step.lr:g}. Its batch: {", ".join(names[:_SHOWN]) or "no file names"}'
            f'{more}, all in {dump}. Last good checkpoint: {checkpoint or "none yet"}. '
            'What helps: a lower learning rate or a longer warm-up; '
            "optim_wrapper.clip_grad=dict(max_norm=1.0); dtype='bfloat16' or fp32 "
            'instead of fp16; a look at these files. Then go on with --resume.'
        )
