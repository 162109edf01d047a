"""A loss that is not a number stops the run before it is saved."""

import json

import pytest
import torch
from mmengine.hooks import Hook
from toy_run import SAMPLES, build, checkpoints, draws, toy_cfg, train

from mim_zoo.engine.checkpoint import check_whole
from mim_zoo.engine.hooks import NonFiniteLossError, NonFiniteLossHook
from mim_zoo.registry import HOOKS


@HOOKS.register_module(force=True)
class PoisonWeights(Hook):
    """Breaks the weights after iteration ``at``, as an overflow in backward does."""

    def __init__(self, at):
        self.at = at

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter + 1 == self.at:
            runner.model.last.bias.data[0] = float('inf')


def with_interval(tmp_path, interval, **given):
    hooks = dict(toy_cfg(tmp_path).default_hooks, **given)
    hooks['non_finite'] = dict(type='NonFiniteLossHook', interval=interval)
    return dict(default_hooks=hooks)


def place_of(sample, tmp_path):
    """The iteration, from 1, at which a whole run draws ``sample`` first."""
    seen = draws(train(tmp_path / 'reference', max_epochs=1))
    return next(i + 1 for i, _, drawn in seen if sample in drawn)


@pytest.mark.parametrize('sample', [0, 7, SAMPLES - 1])
def test_stops_and_says_where(tmp_path, sample):
    at = place_of(sample, tmp_path)
    with pytest.raises(NonFiniteLossError) as info:
        train(tmp_path, poison=sample)
    text = str(info.value)
    assert f'at iteration {at} ' in text
    assert 'clip_grad' in text
    last = (at - 1) // 2 * 2
    expected = f'iter_{last}.pth' if last else 'none yet'
    assert f'{expected}. What helps' in text
    report = json.loads((tmp_path / 'non_finite_batch.json').read_text())
    assert report['iteration'] == at
    assert f'images/{sample}.png' in report['ranks'][0]['files']
    assert report['ranks'][0]['loss'] == 'nan'
    assert f'learning rate {report["lr"]:g}' in text
    kept = checkpoints(tmp_path)
    assert kept == [f'iter_{i}.pth' for i in range(2, at, 2)]
    for name in kept:
        state = torch.load(tmp_path / name, weights_only=False)['state_dict']
        assert all(v.isfinite().all() for v in state.values())


def test_files_of_any_name_are_reported(tmp_path, monkeypatch):
    names = 'mim_zoo.engine.hooks.non_finite.all_gather_object'
    monkeypatch.setattr(names, lambda own: [['\udce9.png'] if own else own])
    with pytest.raises(NonFiniteLossError):
        train(tmp_path, poison=0)
    assert '\\udce9.png' in (tmp_path / 'non_finite_batch.json').read_text()


def test_reported_rate_is_the_one_used(tmp_path):
    with pytest.raises(NonFiniteLossError):
        train(tmp_path, poison=0)
    report = json.loads((tmp_path / 'non_finite_batch.json').read_text())
    runner = train(tmp_path / 'whole')
    rates = runner.message_hub.get_scalar('train/lr').data[0]
    assert report['lr'] == pytest.approx(rates[report['iteration'] - 1])


def test_found_at_the_end_of_the_epoch_at_the_latest(tmp_path):
    given = with_interval(tmp_path, 1000, checkpoint=dict(type='CheckpointHook'))
    runner = build(tmp_path, poison=0, **given)
    with pytest.raises(NonFiniteLossError):
        runner.train()
    assert runner.iter == 6
    assert checkpoints(tmp_path) == []


def test_non_finite_weights_are_not_saved(tmp_path):
    with pytest.raises(NonFiniteLossError, match=r'weights .* iteration 4 '):
        train(tmp_path, custom_hooks=[dict(type='PoisonWeights', at=4)])
    assert checkpoints(tmp_path) == ['iter_2.pth']
    check_whole(tmp_path / 'iter_2.pth')


def test_one_sync_per_interval(tmp_path, monkeypatch):
    calls = []
    real = NonFiniteLossHook._check
    monkeypatch.setattr(
        NonFiniteLossHook, '_check', lambda *a: calls.append(1) or real(*a)
    )
    checkpoint = dict(type='CheckpointHook', interval=100, save_last=False)
    train(tmp_path, **with_interval(tmp_path, 3, checkpoint=checkpoint))
    assert len(calls) == 12 // 3 + 2  # and at the end of each epoch


def test_bad_interval():
    with pytest.raises(ValueError, match='interval'):
        NonFiniteLossHook(interval=0)
