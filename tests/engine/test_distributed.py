"""Two processes on CPUs, started by torchrun, train as one does."""

import json
import subprocess
import sys

import pytest
import torch
from toy_run import start, toy_cfg, train

from mim_zoo.engine.distributed import cpu_wrapper_cfg, init_gloo

PAIR = ('-m', 'torch.distributed.run', '--standalone', '--nproc_per_node=2')


def start_pair(work_dir, **given):
    given = {'launcher': 'pytorch', 'batch_size': 2, 'dropout': 0.0, **given}
    return start(work_dir, PAIR, **given)


def assert_same_weights(folder, runner):
    state = torch.load(folder / 'final.bin', weights_only=True)
    for name, value in runner.model.state_dict().items():
        torch.testing.assert_close(state[name], value, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_two_processes_agree_with_one(tmp_path):
    given = dict(auto_scale_lr=dict(enable=True, base_batch_size=8))
    one = train(tmp_path / 'one', dropout=0.0, **given)
    two = start_pair(tmp_path / 'two', **given)
    assert two.returncode == 0, two.stderr[-3000:]
    assert_same_weights(tmp_path / 'two', one)
    text = 'effective batch 4 = 2 processes x 2 x 1 accumulated, base_batch_size 8'
    assert text in two.stdout + two.stderr
    early = torch.load(tmp_path / 'two' / 'iter_2.pth', weights_only=False)
    change = early['state_dict']['last.weight'] - one.model.last.weight
    assert change.abs().max() > 1e-3  # it did train


@pytest.mark.slow
def test_two_processes_resume_between_two_updates(tmp_path):
    given = dict(accumulate=4, interval=3)
    one = train(tmp_path / 'one', dropout=0.0, **given)
    two = start_pair(tmp_path / 'two', at=5, action='raise', **given)
    assert 'InterruptedError' in two.stderr
    two = start_pair(tmp_path / 'two', resume=True, **given)
    assert two.returncode == 0, two.stderr[-3000:]
    assert 'epoch 0, iteration 3.' in two.stdout + two.stderr
    assert_same_weights(tmp_path / 'two', one)


@pytest.mark.slow
@pytest.mark.parametrize('wrapper', ['OptimWrapper', 'AmpOptimWrapper'])
def test_gradients_travel_once_per_update(tmp_path, wrapper):
    """Of 10 iterations, 4 a step: the last update has the 2 that are left."""
    optim = dict(
        type=wrapper, optimizer=dict(type='SGD', lr=0.05), accumulative_counts=4
    )
    given = dict(samples=20, optim_wrapper=optim, max_epochs=2)
    one = train(tmp_path / 'one', dropout=0.0, **given)
    hooks = [dict(type='ToyReductions')]
    two = start_pair(tmp_path / 'two', custom_hooks=hooks, **given)
    assert two.returncode == 0, two.stderr[-3000:]
    for rank in range(2):
        found = (tmp_path / 'two' / f'reductions_{rank}').read_text()
        assert found == '[3, 7, 9]'
    assert_same_weights(tmp_path / 'two', one)


@pytest.mark.slow
def test_non_finite_loss_of_one_stops_both(tmp_path):
    pair = start_pair(tmp_path, poison=5)
    assert pair.returncode == 1
    assert 'NonFiniteLossError' in pair.stderr
    assert 'Timed out' not in pair.stderr
    report = json.loads((tmp_path / 'non_finite_batch.json').read_text())
    losses = [rank['loss'] for rank in report['ranks']]
    assert sorted(loss == 'nan' for loss in losses) == [False, True]
    assert 'images/5.png' in report['ranks'][losses.index('nan')]['files']


ENDING = """
import atexit, os, torch.distributed as dist
from mim_zoo.engine.distributed import end_together, init_gloo

class Late:
    def __del__(self):
        os._exit(3)  # as if the interpreter's end had gone wrong

late = Late()
late.itself = late
atexit.register(print, 'exit handler')
init_gloo('pytorch')
print('written')
end_together()
"""


def test_a_process_of_gloo_ends_without_finalisation(tmp_path):
    (tmp_path / 'ending.py').write_text(ENDING)
    command = [sys.executable, *PAIR, str(tmp_path / 'ending.py')]
    pair = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert pair.returncode == 0, pair.stderr[-3000:]
    assert pair.stdout.count('written') == 2
    assert pair.stdout.count('exit handler') == 2


def test_wrapper_names_no_device():
    assert cpu_wrapper_cfg(None) == {
        'type': 'MMDistributedDataParallel',
        'broadcast_buffers': False,
        'find_unused_parameters': False,
        'device_ids': None,
    }
    given = {'find_unused_parameters': True}
    assert cpu_wrapper_cfg(given)['device_ids'] is None
    assert given == {'find_unused_parameters': True}


def test_launcher_without_torchrun(tmp_path, monkeypatch):
    monkeypatch.delenv('RANK', raising=False)
    with pytest.raises(ValueError, match=r'torchrun'):
        init_gloo('pytorch')
    with pytest.raises(ValueError, match=r'needs a GPU'):
        init_gloo('slurm')
    monkeypatch.setattr('mim_zoo.engine.runner.on_cpu', lambda: True)
    with pytest.raises(ValueError, match=r"'RANK'"):
        train(tmp_path, launcher='pytorch')
    assert 'launcher' not in toy_cfg(tmp_path)
