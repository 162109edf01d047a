"""A progress bar for people; a log file never sees it."""

import datetime
import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import BaseLoop, Runner
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text
from torch import Tensor

from ...registry import HOOKS

REFRESH_SECONDS = 0.2


@HOOKS.register_module()
class ProgressHook(Hook):
    """Show epoch, iteration, loss, images/s and time left while training.

    Only on rank 0 and only when stdout is a terminal; the logger's lines then appear
    whole above the bar. Elsewhere the hook does nothing, and LoggerHook's plain lines
    are all there is. The loss is read every ``interval`` iterations, since reading it
    waits for the device; speed and time left are those of the log.
    """

    priority = 'VERY_LOW'

    def __init__(self, interval: int = 10) -> None:
        if interval < 1:
            raise ValueError(f'ProgressHook: interval must be >= 1, got {interval}.')
        self.interval = interval
        self._bar: Progress | None = None
        self._shown_at = 0.0

    def before_run(self, runner: Runner) -> None:
        """Let the bar live exactly as long as the training loop runs.

        MMEngine calls no hook when training fails, so the loop's ``run`` is wrapped:
        terminal and logger are as before whichever way it ends.
        """
        loop = runner._train_loop
        if runner.rank != 0 or not isinstance(loop, BaseLoop) or not _on_terminal():
            return
        run = loop.run

        def run_with_bar() -> Any:
            if self._bar is not None:  # wrapped twice: train() after train()
                return run()
            with self._display(runner.logger):
                return run()

        loop.run = run_with_bar  # type: ignore[method-assign]

    @contextmanager
    def _display(self, logger: logging.Logger) -> Iterator[None]:
        console = Console(file=sys.stdout)
        streams = [
            handler
            for handler in logger.handlers
            if isinstance(handler, logging.StreamHandler)
            and handler.stream in (sys.stdout, sys.stderr)
        ]
        # No refresh thread: loader processes are forked while the bar is up.
        with _bar(console) as self._bar:
            console.show_cursor(True)  # a killed run leaves a usable terminal
            old = [handler.setStream(_AboveBar(console)) for handler in streams]
            try:
                yield
            finally:
                for handler, stream in zip(streams, old):
                    handler.setStream(stream)
                self._bar.refresh()
                self._bar = None

    def before_train(self, runner: Runner) -> None:
        """Start, or start again where a resumed run left off."""
        if self._bar is not None:
            self._bar.add_task(
                '', total=runner.max_iters, completed=runner.iter, status='starting'
            )
            self._bar.refresh()

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: dict[str, Any] | None = None,
    ) -> None:
        """Advance the bar, redrawing it at most five times a second."""
        bar = self._bar
        if bar is None:
            return
        task = bar.tasks[0]
        loss = task.fields.get('loss', '')
        if outputs and 'loss' in outputs and runner.iter % self.interval == 0:
            value = outputs['loss']
            value = value.detach() if isinstance(value, Tensor) else value
            loss = f'loss {float(value):.4f}'
        done = runner.iter + 1
        bar.update(
            task.id,
            completed=done,
            loss=loss,
            status=_status(runner, batch_idx, data_batch, loss),
        )
        now = time.monotonic()
        if now - self._shown_at >= REFRESH_SECONDS or done == runner.max_iters:
            self._shown_at = now
            bar.refresh()


def _on_terminal() -> bool:
    return sys.stdout.isatty() and os.environ.get('TERM') != 'dumb'


def _bar(console: Console) -> Progress:
    return Progress(
        TextColumn('[progress.percentage]{task.percentage:>3.0f}%'),
        BarColumn(bar_width=24),
        TextColumn('{task.fields[status]}'),
        console=console,
        auto_refresh=False,
    )


def _status(runner: Runner, batch_idx: int, data_batch: Any, loss: str) -> str:
    """For example 'epoch 3/20  12/50  loss 0.4321  812 images/s  0:03:12 left'."""
    parts = [
        f'epoch {runner.epoch + 1}/{runner.max_epochs}',
        f'{batch_idx + 1}/{len(runner.train_dataloader)}',
        loss,
    ]
    hub = runner.message_hub
    if 'train/time' in hub.log_scalars:
        seconds = hub.get_scalar('train/time').mean(10)
        images = _batch_size(data_batch) * runner.world_size
        if seconds > 0 and images:
            parts.append(f'{images / seconds:,.0f} images/s')
    if 'eta' in hub.runtime_info:
        left = datetime.timedelta(seconds=int(hub.get_info('eta')))
        parts.append(f'{left} left')
    return '  '.join(part for part in parts if part)


def _batch_size(data_batch: Any) -> int:
    inputs = data_batch.get('inputs') if isinstance(data_batch, dict) else data_batch
    return len(inputs) if isinstance(inputs, (Tensor, list, tuple)) else 0


class _AboveBar:
    """The stream of a log handler: one write, one line printed above the bar."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def write(self, text: str) -> None:
        line = Text.from_ansi(text.removesuffix('\n'))
        self.console.print(line, soft_wrap=True)

    def flush(self) -> None:
        self.console.file.flush()
