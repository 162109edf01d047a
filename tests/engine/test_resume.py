"""Training that is killed and resumed equals training that is not, bit for bit."""

import signal
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from toy_run import build, draws, start, state_of, toy_cfg, train

from mim_zoo.engine import ZooRunner
from mim_zoo.engine.hooks.seed import SeedHook, mixed_seed


def assert_equal(a, b, where=''):
    assert type(a) is type(b), where
    if isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a:
            assert_equal(a[key], b[key], f'{where}.{key}')
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b), where
        for i, pair in enumerate(zip(a, b)):
            assert_equal(*pair, f'{where}[{i}]')
    elif isinstance(a, torch.Tensor):
        assert torch.equal(a, b), where
    elif isinstance(a, np.ndarray):
        assert np.array_equal(a, b), where
    else:
        assert a == b, where


def interrupted(work_dir, at, **given):
    """Train until an exception at iteration ``at``, then resume to the end."""
    with pytest.raises(InterruptedError):
        train(work_dir, at=at, action='raise', **given)
    return train(work_dir, resume=True, **given)


CASES = {
    'inside an epoch': dict(at=5),
    'inside the second epoch': dict(at=11),
    'last batch of an epoch': dict(at=7, interval=6),
    'at the end of an epoch': dict(at=9, by_epoch=True, interval=1),
    'between two updates': dict(at=4, accumulate=4, interval=3),
    'an epoch ends between two updates': dict(
        at=9, accumulate=4, by_epoch=True, interval=1
    ),
    'with workers': dict(at=5, workers=2),
    'without a seed': dict(at=5, seed=None),
    'several groups': dict(at=5, groups=True),
    'milestones': dict(
        at=5, param_scheduler=[dict(type='MultiStepLR', milestones=[1], by_epoch=True)]
    ),
    'momentum': dict(at=5, optimizer='SGD'),
}


@pytest.mark.parametrize('name', CASES)
def test_interrupted_run_equals_whole_run(tmp_path, name):
    options = dict(CASES[name])
    at = options.pop('at')
    resumed = interrupted(tmp_path / 'b', at, **options)
    # Without a seed in the config, the one drawn first holds, for the order too.
    options['seed'] = resumed.seed
    whole = train(tmp_path / 'a', **options)
    assert_equal(state_of(whole), state_of(resumed))
    done = draws(resumed)
    assert done == draws(whole)[-len(done) :]
    assert len(done) < len(draws(whole))
    assert whole.model.first.weight.std() > 0


@pytest.mark.slow
def test_kill_9_in_the_middle_of_an_epoch(tmp_path):
    whole = train(tmp_path / 'a', accumulate=2, interval=3)
    killed = start(tmp_path / 'b', at=5, accumulate=2, interval=3)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    resumed = train(tmp_path / 'b', accumulate=2, interval=3, resume=True)
    assert draws(resumed)[0][:2] == (3, 3)
    assert_equal(state_of(whole), state_of(resumed))


def test_log_and_limits_after_resume(tmp_path):
    resumed = interrupted(tmp_path, 9)
    assert (resumed.iter, resumed.max_iters, resumed.epoch) == (12, 12, 2)
    log = Path(resumed.log_dir, f'{resumed.timestamp}.log').read_text()
    log = log[log.index('Resumed from') :]  # the runs of one second share a file
    assert 'Epoch(train) [2][3/6]' in log
    assert 'Epoch(train) [2][2/6]' not in log
    assert 'Epoch(train) [2][6/6]' in log


def test_without_the_seed_hook_the_runs_differ(tmp_path):
    off = dict(default_hooks=dict(toy_cfg(tmp_path).default_hooks, seed=None))
    whole = train(tmp_path / 'a', **off)
    resumed = interrupted(tmp_path / 'b', 5, **off)
    assert not torch.equal(whole.model.first.weight, resumed.model.first.weight)


def test_sampler_that_cannot_start_inside_an_epoch(tmp_path):
    with pytest.raises(ValueError, match=r'EpochSampler'):
        interrupted(tmp_path, 5, sampler='DefaultSampler')
    done = interrupted(tmp_path / 'b', 9, sampler='DefaultSampler', interval=6)
    assert done.iter == 12


def test_loop_by_iteration_resumes_as_in_mmengine(tmp_path):
    given = dict(
        sampler='InfiniteSampler',
        interval=6,
        train_cfg=dict(type='IterBasedTrainLoop', max_iters=12),
        param_scheduler=[dict(type='StepLR', step_size=4, by_epoch=False)],
    )
    resumed = interrupted(tmp_path / 'b', 7, batch_size=4, **given)
    assert draws(resumed) == draws(train(tmp_path / 'a', **given))[6:]
    with pytest.raises(InterruptedError):
        train(tmp_path / 'c', at=7, action='raise', **given)
    assert train(tmp_path / 'c', batch_size=3, resume=True, **given).iter == 12


def test_other_batch_size_goes_on_at_the_same_sample(tmp_path):
    with pytest.raises(InterruptedError):
        train(tmp_path, at=9, action='raise', interval=8)
    resumed = train(tmp_path, batch_size=2, resume=True)
    # Two batches of 4 in the second epoch: the third of 2 per former one.
    assert draws(resumed)[0][:2] == (12 + 4, 4)
    reference = train(tmp_path / 'whole', batch_size=2)
    rest = draws(reference)[16:]
    assert draws(resumed) == rest
    lrs = [s.get_last_value() for s in resumed.param_schedulers]
    assert lrs == [s.get_last_value() for s in reference.param_schedulers]


def test_batch_size_that_does_not_fit_the_position(tmp_path):
    with pytest.raises(InterruptedError):
        train(tmp_path, at=9, action='raise', interval=8)
    with pytest.raises(ValueError, match=r'8 samples of epoch 2.*batches of 3'):
        train(tmp_path, batch_size=3, resume=True)
    with pytest.raises(ValueError, match=r'24 samples and is now .* of 20 samples'):
        train(tmp_path, samples=20, resume=True)


def test_other_data_at_the_end_of_an_epoch(tmp_path):
    train(tmp_path, max_epochs=1, by_epoch=True, interval=1)
    resumed = train(tmp_path, max_epochs=2, samples=32, by_epoch=True, resume=True)
    assert (resumed.iter, resumed.max_iters, resumed.epoch) == (16, 16, 2)


def test_longer_schedule_is_followed(tmp_path):
    train(tmp_path / 'b', max_epochs=1, by_epoch=True, interval=1)
    resumed = train(tmp_path / 'b', max_epochs=3, by_epoch=True, resume=True)
    reference = train(tmp_path / 'a', max_epochs=3)
    expected = reference.message_hub.get_scalar('train/lr').data[0][6:]
    assert np.allclose(resumed.message_hub.get_scalar('train/lr').data[0][6:], expected)


def test_options_of_the_optimizer_are_those_configured_now(tmp_path):
    train(tmp_path, max_epochs=1, param_scheduler=None)
    now = dict(type='AdamW', lr=0.01, weight_decay=0.3, betas=(0.8, 0.9))
    given = dict(param_scheduler=None, optim_wrapper=dict(optimizer=now))
    resumed = train(tmp_path, resume=True, **given)
    (group,) = resumed.optim_wrapper.param_groups
    assert {key: group[key] for key in ('lr', 'weight_decay', 'betas')} == {
        key: now[key] for key in ('lr', 'weight_decay', 'betas')
    }
    log = Path(resumed.log_dir, f'{resumed.timestamp}.log').read_text()
    assert 'weight_decay 0.01 in the checkpoint, 0.3 configured now' in log


def test_the_same_options_need_no_word(tmp_path):
    warm = dict(type='LinearMomentum', start_factor=0.5, by_epoch=False, end=6)
    resumed = interrupted(tmp_path, 5, param_scheduler=[warm])
    log = Path(resumed.log_dir, f'{resumed.timestamp}.log').read_text()
    assert 'configured now, which' not in log


def test_other_model_or_optimizer(tmp_path):
    train(tmp_path, max_epochs=1)
    with pytest.raises(ValueError, match=r'another model.*first.weight'):
        train(tmp_path, width=9, resume=True)
    with pytest.raises(ValueError, match=r'AdamW.*SGD'):
        train(tmp_path, optimizer='SGD', resume=True)


def test_nothing_to_resume_starts_fresh(tmp_path):
    runner = train(tmp_path, max_epochs=1, resume=True)
    assert runner.iter == 6
    log = Path(runner.log_dir, f'{runner.timestamp}.log').read_text()
    assert 'Nothing to resume from' in log


def test_auto_begins_with_load_from_and_goes_on_from_its_own(tmp_path):
    first = train(tmp_path / 'a', max_epochs=1)
    given = dict(resume='auto', load_from=str(tmp_path / 'a' / 'iter_6.pth'))
    begun = train(tmp_path / 'b', max_epochs=1, lr=0.0, **given)
    assert begun.iter == 6
    assert torch.equal(begun.model.last.bias, first.model.last.bias)
    resumed = train(tmp_path / 'b', **given)
    assert draws(resumed)[0][:2] == (6, 0)


def test_explicit_path(tmp_path):
    train(tmp_path, max_epochs=1)
    chosen = str(tmp_path / 'iter_2.pth')
    resumed = train(tmp_path / 'other', resume=True, load_from=chosen)
    assert draws(resumed)[0][:2] == (2, 2)
    data = Path(chosen).read_bytes()
    Path(chosen).write_bytes(data[: len(data) // 2])
    with pytest.raises(ValueError, match=r'iter_2.pth'):
        train(tmp_path / 'other', resume=True, load_from=chosen)


def test_load_from_takes_the_weights_only(tmp_path):
    first = train(tmp_path / 'a', max_epochs=1)
    runner = build(tmp_path / 'b', load_from=str(tmp_path / 'a' / 'iter_6.pth'), lr=0.0)
    runner.train()
    assert runner.iter == 12
    assert torch.equal(runner.model.last.bias, first.model.last.bias)
    with pytest.raises(ValueError, match=r'(?s)iter_6.pth.*min_share'):
        train(tmp_path / 'c', width=9, load_from=str(tmp_path / 'a' / 'iter_6.pth'))


@pytest.mark.parametrize('groups', [False, True])
def test_learning_rate_follows_the_effective_batch(tmp_path, groups):
    scale = dict(enable=True, base_batch_size=32)
    runner = build(
        tmp_path, accumulate=2, auto_scale_lr=scale, param_scheduler=None, groups=groups
    )
    runner.train()
    rates = runner.optim_wrapper.get_lr()
    assert max(rates['lr']) == pytest.approx(0.05 * 4 * 2 / 32)
    if groups:
        assert min(rates['lr']) == pytest.approx(0.005 * 4 * 2 / 32)
        assert rates['base_lr'] == [pytest.approx(0.05 * 4 * 2 / 32)]
    log = Path(runner.log_dir, f'{runner.timestamp}.log').read_text()
    assert 'effective batch 8 = 1 processes x 4 x 2 accumulated' in log


def test_learning_rate_needs_its_base(tmp_path):
    with pytest.raises(ValueError, match=r'base_batch_size'):
        train(tmp_path, auto_scale_lr=dict(enable=True))


def test_runner_from_cfg(tmp_path):
    assert isinstance(build(tmp_path), ZooRunner)
    assert isinstance(ZooRunner.from_cfg(toy_cfg(tmp_path)), ZooRunner)


def test_seeds_of_neighbours_are_unrelated():
    seeds = {mixed_seed(s, r, i) for s in range(4) for r in range(4) for i in range(50)}
    assert len(seeds) == 800
    bits = [
        bin(mixed_seed(0, 0, i) ^ mixed_seed(0, 0, i + 1)).count('1') for i in range(50)
    ]
    assert 27 < sum(bits) / len(bits) < 36
    assert mixed_seed(0, 1) != mixed_seed(1, 0)


def test_seed_hook_is_cheap():
    hook, run = SeedHook(), SimpleNamespace(seed=3, rank=0, iter=7)
    begin = time.perf_counter()
    for _ in range(1000):
        hook.before_train_iter(run, 0)
    assert (time.perf_counter() - begin) / 1000 < 2e-4
