"""The progress bar: on a terminal above nothing's lines, elsewhere not at all."""

import io
import logging
import re
import sys

import pytest
import torch
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from mim_zoo.engine.hooks.progress import ProgressHook

LONG = 'held-out explained share 0.2134 ' * 6 + 'end'


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class ToyModel(BaseModel):
    """Logs one long line, and fails, at the chosen iterations."""

    def __init__(self, fail_at: int = -1) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(()))
        self.fail_at, self.seen = fail_at, 0

    def forward(self, inputs, mode: str = 'loss', **_):
        if self.seen == self.fail_at:
            raise RuntimeError('the loss is not finite')
        self.seen += 1
        if self.seen == 2:
            from mmengine.logging import print_log

            print_log(LONG, logger='current')
        return {'loss': (inputs * self.weight).mean()}


def make_runner(tmp_path, name: str, fail_at: int = -1) -> Runner:
    data = [{'inputs': torch.ones(3)} for _ in range(8)]
    return Runner(
        model=ToyModel(fail_at),
        work_dir=str(tmp_path),
        train_dataloader=DataLoader(data, batch_size=2),
        train_cfg=dict(by_epoch=True, max_epochs=2),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        custom_hooks=[ProgressHook(interval=2)],
        default_hooks=dict(checkpoint=None, logger=dict(type='LoggerHook', interval=2)),
        experiment_name=name,
    )


def run(tmp_path, monkeypatch, stream: io.StringIO, **options) -> Runner:
    monkeypatch.setattr(sys, 'stdout', stream)
    monkeypatch.setenv('TERM', 'xterm')
    monkeypatch.setenv('COLUMNS', '80')
    runner = make_runner(tmp_path, **options)
    runner.train()
    return runner


def plain(text: str) -> str:
    return re.sub(r'\x1b\[[0-9;?]*[A-Za-z]', '', text)


def console_streams(runner: Runner) -> list:
    return [
        handler.stream
        for handler in runner.logger.handlers
        if type(handler) is logging.StreamHandler
    ]


def test_bar_on_a_terminal(tmp_path, monkeypatch) -> None:
    stream = Terminal()
    runner = run(tmp_path, monkeypatch, stream, name='progress_terminal')
    text = plain(stream.getvalue())
    assert re.search(
        r'100%.*epoch 2/2  4/4  loss \S+  [\d,]+ images/s  0:00:00 left', text
    )
    assert LONG in text  # whole, though longer than the terminal is wide
    assert 'Epoch(train)' in text
    assert console_streams(runner) == [stream]
    log_file = next(tmp_path.glob('*/*.log')).read_text()
    assert LONG in log_file
    assert 'images/s' not in log_file


def test_nothing_elsewhere(tmp_path, monkeypatch) -> None:
    stream = io.StringIO()
    run(tmp_path, monkeypatch, stream, name='progress_file')
    assert 'Epoch(train)' in stream.getvalue()
    assert 'images/s' not in stream.getvalue()
    assert '%' not in plain(stream.getvalue()).partition('Epoch(train)')[2]


def test_a_failure_gives_the_logger_back(tmp_path, monkeypatch) -> None:
    stream = Terminal()
    monkeypatch.setattr(sys, 'stdout', stream)
    monkeypatch.setenv('TERM', 'xterm')
    runner = make_runner(tmp_path, 'progress_failure', fail_at=3)
    with pytest.raises(RuntimeError, match='not finite'):
        runner.train()
    assert console_streams(runner) == [stream]
    assert sys.stdout is stream
    mark = len(stream.getvalue())
    runner.logger.info('after the failure')
    assert stream.getvalue()[mark:].endswith('after the failure\n')
    assert 'epoch' not in stream.getvalue()[mark:]


def test_the_loss_is_read_every_interval(tmp_path, monkeypatch) -> None:
    reads = []

    class Loss(float):
        def __float__(self) -> float:
            reads.append(1)
            return 1.0

    monkeypatch.setattr(sys, 'stdout', Terminal())
    runner = make_runner(tmp_path, 'progress_reads')
    hook = next(hook for hook in runner.hooks if isinstance(hook, ProgressHook))
    hook.interval = 4
    after = hook.after_train_iter

    def watch(runner, batch_idx, data_batch=None, outputs=None) -> None:
        after(runner, batch_idx, data_batch, {'loss': Loss(1.0)})

    hook.after_train_iter = watch
    monkeypatch.setenv('TERM', 'xterm')
    runner.train()
    assert len(reads) == 2  # iterations 0 and 4 of 8


def test_interval_is_checked() -> None:
    with pytest.raises(ValueError, match='interval must be >= 1, got 0'):
        ProgressHook(interval=0)
