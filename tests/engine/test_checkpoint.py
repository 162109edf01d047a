"""A checkpoint is whole or absent, whatever happens while it is written."""

import errno
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
import torch
from mmengine.fileio import get_file_backend
from mmengine.runner import Runner
from toy_run import checkpoints, draws, start, toy_cfg, train

from mim_zoo.engine import newest_whole_checkpoint
from mim_zoo.engine.checkpoint import check_whole, remove_stale

BACKEND = {'backend': 'atomic'}


def names(folder):
    return sorted(p.name for p in Path(folder).iterdir() if p.is_file())


# ---------------------------------------------------------------- the file backend


def test_backend_writes(tmp_path):
    backend = get_file_backend(backend_args=BACKEND)
    backend.put(b'one', tmp_path / 'new' / 'a.bin')
    backend.put_text('zwölf', tmp_path / 'new' / 'a.bin')
    assert (tmp_path / 'new' / 'a.bin').read_text('utf-8') == 'zwölf'
    assert names(tmp_path / 'new') == ['a.bin']


@pytest.mark.parametrize('step', ['pathlib.Path.write_bytes', 'os.fsync', 'replace'])
def test_failed_write_leaves_the_previous_file(tmp_path, monkeypatch, step):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = tmp_path / 'epoch_1.pth'
    path.write_bytes(b'previous')
    step = 'pathlib.Path.replace' if step == 'replace' else step
    monkeypatch.setattr(step, full)
    backend = get_file_backend(backend_args=BACKEND)
    with pytest.raises(OSError, match=r'epoch_1.pth.*MiB are free.*--resume') as info:
        backend.put(b'next', path)
    assert info.value.errno == errno.ENOSPC
    monkeypatch.undo()
    assert path.read_bytes() == b'previous'
    assert names(tmp_path) == ['epoch_1.pth']


def test_full_disk_in_training(tmp_path, monkeypatch):
    """ENOSPC at the third checkpoint: the second is whole, and training goes on."""
    calls = []
    real = Path.write_bytes

    def write_bytes(self, data):
        calls.extend([self] * self.name.startswith('.iter_'))
        if len(calls) == 3:
            real(self, data[:100])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(self, data)

    monkeypatch.setattr(Path, 'write_bytes', write_bytes)
    with pytest.raises(OSError, match=r'iter_6.pth \(No space left'):
        train(tmp_path, keep=1)
    monkeypatch.undo()
    assert checkpoints(tmp_path) == ['iter_4.pth']
    assert not list(tmp_path.glob('.*'))
    check_whole(tmp_path / 'iter_4.pth')
    assert draws(train(tmp_path, keep=1, resume=True))[0][0] == 4


def test_full_disk_for_real(tmp_path):
    """The same on a file system of 1 MiB."""
    disk = tmp_path / 'disk'
    disk.mkdir()
    mount = ['mount', '-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', str(disk)]
    if (
        not shutil.which('mount')
        or subprocess.run(mount, capture_output=True).returncode
    ):
        pytest.skip('no right to mount a small file system here')
    try:
        with pytest.raises(OSError, match=r'No space left.*MiB are free') as info:
            train(disk / 'run', width=4000, interval=1, keep=1)
        assert info.value.errno == errno.ENOSPC
        left = checkpoints(disk / 'run')
        assert left, 'the previous checkpoint was removed'
        assert newest_whole_checkpoint(disk / 'run') == str(disk / 'run' / left[-1])
        assert not list((disk / 'run').glob('.*'))
    finally:
        subprocess.run(['umount', '-l', str(disk)], check=True)  # the log is open


@pytest.mark.slow
def test_kill_while_writing(tmp_path):
    killed = start(tmp_path, at=3, action='kill_while_writing', keep=1)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert checkpoints(tmp_path) == ['iter_2.pth']
    assert list(tmp_path.glob('.iter_4.pth.*.tmp')), 'it was not killed in the write'
    resumed = train(tmp_path, keep=1, resume=True)
    assert draws(resumed)[0][0] == 2
    assert checkpoints(tmp_path) == ['iter_12.pth']
    assert not list(tmp_path.glob('.*'))


def test_stale_files(tmp_path):
    mine = ['.epoch_3.pth.123.tmp', '.last_checkpoint.9.tmp']
    others = ['.hidden', 'a.tmp', '.epoch_3.pth.tmp', 'epoch_3.pth']
    for name in mine + others:
        (tmp_path / name).touch()
    assert sorted(remove_stale(tmp_path)) == sorted(mine)
    assert names(tmp_path) == sorted(others)


# -------------------------------------------------------------- the checkpoint hook


@pytest.mark.parametrize('keep', [1, 2])
def test_outdated_go_after_the_new_one_is_whole(tmp_path, monkeypatch, keep):
    seen = []
    real = os.fsync

    def fsync(descriptor):
        seen.append(checkpoints(tmp_path))
        real(descriptor)

    monkeypatch.setattr(os, 'fsync', fsync)
    train(tmp_path, keep=keep)
    assert checkpoints(tmp_path) == ['iter_10.pth', 'iter_12.pth'][-keep:]
    first = next(i for i, present in enumerate(seen) if present)
    assert all(len(present) >= 1 for present in seen[first:])
    assert min(map(len, seen[-2:])) >= keep


def test_kill_before_the_removal_is_made_up_for(tmp_path, monkeypatch):
    def stop(self, path):
        raise InterruptedError

    monkeypatch.setattr('mim_zoo.engine.checkpoint.SafeCheckpointHook._remove', stop)
    with pytest.raises(InterruptedError):
        train(tmp_path, keep=1)
    assert checkpoints(tmp_path) == ['iter_2.pth', 'iter_4.pth']
    monkeypatch.undo()
    resumed = train(tmp_path, keep=1, resume=True)
    assert draws(resumed)[0][0] == 4
    assert checkpoints(tmp_path) == ['iter_12.pth']


def test_best_goes_after_the_better_one_is_whole(tmp_path):
    runner = train(tmp_path, max_epochs=1)
    hook = next(h for h in runner.hooks if hasattr(h, '_save_best_checkpoint'))
    hook.save_best, hook.is_better_than = ['score'], {}
    hook._init_rule(['greater'], ['score'])
    hook.best_ckpt_path = None
    hook._save_best_checkpoint(runner, {'score': 1.0})
    assert 'best_score_iter_6.pth' in checkpoints(tmp_path)
    real = runner.save_checkpoint

    def fail(*_, **__):
        raise OSError(errno.ENOSPC, 'full')

    runner.train_loop._iter, runner.save_checkpoint = 7, fail
    with pytest.raises(OSError, match='full'):
        hook._save_best_checkpoint(runner, {'score': 2.0})
    assert 'best_score_iter_6.pth' in checkpoints(tmp_path)
    runner.train_loop._iter, runner.save_checkpoint = 8, real
    hook.best_ckpt_path = str(tmp_path / 'best_score_iter_6.pth')
    hook._save_best_checkpoint(runner, {'score': 3.0})
    best = [n for n in checkpoints(tmp_path) if n.startswith('best')]
    assert best == ['best_score_iter_8.pth']
    # The same name again is the new best, not the old one to remove.
    hook._save_best_checkpoint(runner, {'score': 4.0})
    assert 'best_score_iter_8.pth' in checkpoints(tmp_path)


def test_the_best_of_another_folder_stays(tmp_path):
    first = train(tmp_path / 'a', max_epochs=1)
    theirs = tmp_path / 'a' / 'best_score_iter_6.pth'
    shutil.copy(tmp_path / 'a' / 'iter_6.pth', theirs)
    runner = train(tmp_path / 'b', resume=True, load_from=f'{tmp_path}/a/iter_6.pth')
    hook = next(h for h in runner.hooks if hasattr(h, '_save_best_checkpoint'))
    hook.save_best, hook.is_better_than = ['score'], {}
    hook._init_rule(['greater'], ['score'])
    hook.best_ckpt_path = str(theirs)
    hook._save_best_checkpoint(runner, {'score': 1.0})
    assert first.iter == 6 and theirs.is_file()
    assert 'best_score_iter_12.pth' in checkpoints(tmp_path / 'b')


def test_what_is_written(tmp_path):
    runner = train(tmp_path, max_epochs=1)
    assert (tmp_path / 'last_checkpoint').read_text() == str(tmp_path / 'iter_6.pth')
    content = torch.load(tmp_path / 'iter_6.pth', weights_only=False)
    assert 'ToyModel' in content['meta']['cfg']
    assert content['meta']['seed'] == 3
    assert content['resume']['layout'] == {
        'batches': 6,
        'global_batch': 4,
        'samples': 24,
    }
    # MMEngine's own runner reads it too.
    cfg = toy_cfg(
        tmp_path / 'other', max_epochs=1, load_from=str(tmp_path / 'iter_6.pth')
    )
    other = Runner.from_cfg(cfg)
    other.load_or_resume()
    assert torch.equal(other.model.last.weight, runner.model.last.weight)
