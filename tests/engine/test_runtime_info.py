"""The device is waited for when something is logged, not in every iteration."""

from collections import Counter
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from toy_run import build

WAITING = {
    *('item', 'tolist', 'cpu', 'numpy', 'nonzero'),
    *('__float__', '__int__', '__bool__', '__array__', '__index__'),
}


class Waits(TorchFunctionMode):
    """Counts what would wait for a device, were there one."""

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()

    def __torch_function__(self, func, types, args=(), kwargs=None):
        name = getattr(func, '__name__', '')
        if name in WAITING:
            self.found[name] += 1
        return func(*args, **(kwargs or {}))


def options(interval: int, **more: Any) -> dict:
    hooks = dict(
        logger=dict(type='LoggerHook', interval=interval),
        checkpoint=dict(type='CheckpointHook', interval=100),
    )
    given = dict(samples=96, max_epochs=1, optimizer='SGD')  # AdamW reads its steps
    return dict(given, default_hooks=hooks, custom_hooks=[], **more)


def waits_of(tmp_path, interval: int, **more: Any) -> int:
    """In 24 iterations."""
    runner = build(tmp_path / str(interval), **options(interval, **more))
    loop = runner.build_train_loop(runner._train_loop)
    runner._train_loop = loop
    waits, run_iter = Waits(), loop.run_iter

    def counted(*args: Any) -> None:
        with waits:
            run_iter(*args)

    loop.run_iter = counted
    runner.train()
    return sum(waits.found.values())


def test_waits_grow_with_what_is_logged_not_with_iterations(tmp_path) -> None:
    often, seldom = (waits_of(tmp_path, interval) for interval in (1, 24))
    tests_of_losses = 24 // 10
    assert seldom == 1 + tests_of_losses
    assert often == 24 + tests_of_losses


def test_the_history_is_mmengines(tmp_path) -> None:
    histories = []
    for kind in ('RuntimeInfoHook', 'mim_zoo.LazyRuntimeInfoHook'):
        given = options(5)
        given['default_hooks']['runtime_info'] = dict(type=kind)
        runner = build(tmp_path / kind, **given)
        runner.train()
        losses, counts = runner.message_hub.get_scalar('train/loss').data
        assert len(losses) == 24 and (counts == 1).all()
        histories.append(losses.tolist())
    assert histories[0] == histories[1]


def test_a_value_is_that_of_its_iteration(tmp_path) -> None:
    """Even if the model writes the next one into the same tensor."""
    runner = build(tmp_path, **options(24))
    hook = next(h for h in runner.hooks if type(h).__name__ == 'LazyRuntimeInfoHook')
    runner.train_loop  # noqa: B018, builds the loader
    value = torch.zeros(())
    for i in range(24):
        value.fill_(i)
        outputs = dict(
            loss=value, rate=i / 2, wide=torch.tensor([i], dtype=torch.int64)
        )
        hook.after_train_iter(runner, i, outputs=outputs)
    for name, factor in (('loss', 1), ('rate', 0.5), ('wide', 1)):
        data, _ = runner.message_hub.get_scalar(f'train/{name}').data
        assert data.tolist() == [factor * i for i in range(24)]
