"""A run goes on from the newest checkpoint that is whole, and is its own."""

import logging
import os
from pathlib import Path

import pytest
import torch
from toy_run import draws, train

from mim_zoo.engine import newest_whole_checkpoint
from mim_zoo.engine.checkpoint import check_whole


def write(path, value=1.0, seconds=None):
    torch.save({'state_dict': {'w': torch.full((1000,), value)}, 'meta': {}}, path)
    if seconds is not None:
        os.utime(path, (seconds, seconds))
    return path


def truncate(path):
    data = Path(path).read_bytes()
    Path(path).write_bytes(data[: len(data) // 2])


@pytest.fixture
def warnings(monkeypatch):
    """What newest_whole_checkpoint warned of."""
    found = []
    monkeypatch.setattr(
        'mim_zoo.engine.checkpoint.print_log',
        lambda text, logger, level: level == logging.WARNING and found.append(text),
    )
    return found


def test_truncated_newest_falls_back(tmp_path):
    train(tmp_path, max_epochs=1)
    truncate(tmp_path / 'iter_6.pth')
    resumed = train(tmp_path, resume=True)
    assert draws(resumed)[0][:2] == (4, 4)
    log = Path(resumed.log_dir, f'{resumed.timestamp}.log').read_text()
    lines = [
        line for line in log.splitlines() if 'WARNING' in line and 'iter_6' in line
    ]
    assert len(lines) == 1
    assert str(tmp_path / 'iter_4.pth') in lines[0]
    check_whole(tmp_path / 'iter_6.pth')  # written anew


def test_newest_is_by_number(tmp_path, warnings):
    for n, time in ((2, 300), (10, 200), (9, 100)):
        write(tmp_path / f'epoch_{n}.pth', seconds=time)
    write(tmp_path / 'best_acc_epoch_99.pth')
    write(tmp_path / 'epoch_99-12345678.pth')
    write(tmp_path / 'weights.pth')
    assert newest_whole_checkpoint(tmp_path) == str(tmp_path / 'epoch_10.pth')
    assert not warnings


def test_newest_is_by_time_for_mixed_names(tmp_path):
    write(tmp_path / 'epoch_2.pth', seconds=300)
    write(tmp_path / 'iter_1000.pth', seconds=200)
    assert newest_whole_checkpoint(tmp_path) == str(tmp_path / 'epoch_2.pth')


@pytest.mark.parametrize('form', ['epoch_{}', 'e{}_mae', 'vit16_{}-x'])
def test_newest_is_named_as_the_last_one_is(tmp_path, form):
    for number, time in ((2, 100), (3, 200)):
        write(tmp_path / f'{form.format(number)}.pth', seconds=time)
    write(tmp_path / 'timm_epoch_9.pth', seconds=300)
    last = tmp_path / f'{form.format(3)}.pth'
    (tmp_path / 'last_checkpoint').write_text(str(last))
    assert newest_whole_checkpoint(tmp_path) == str(last)
    truncate(last)
    assert newest_whole_checkpoint(tmp_path) == str(tmp_path / f'{form.format(2)}.pth')


def test_an_earlier_run_in_the_same_folder(tmp_path):
    write(tmp_path / 'epoch_100.pth', seconds=100)
    write(tmp_path / 'epoch_4.pth', seconds=200)
    write(tmp_path / 'epoch_5.pth', seconds=300)
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'epoch_4.pth'))
    # Number 5 was written, but its name was not: the kill came between.
    assert newest_whole_checkpoint(tmp_path) == str(tmp_path / 'epoch_5.pth')


def test_moved_folder_and_other_out_dir(tmp_path):
    (tmp_path / 'elsewhere').mkdir()
    (tmp_path / 'run').mkdir()
    path = write(tmp_path / 'elsewhere' / 'epoch_1.pth')
    (tmp_path / 'run' / 'last_checkpoint').write_text(str(path))
    assert newest_whole_checkpoint(tmp_path / 'run') == str(path)
    moved = write(tmp_path / 'run' / 'epoch_3.pth')
    (tmp_path / 'run' / 'last_checkpoint').write_text('/gone/epoch_3.pth')
    assert newest_whole_checkpoint(tmp_path / 'run') == str(moved)


def test_damaged_files_are_passed_over(tmp_path, warnings):
    good = write(tmp_path / 'epoch_1.pth')
    (tmp_path / 'epoch_2.pth').write_bytes(b'')
    (tmp_path / 'epoch_3.pth').write_text('not a checkpoint')
    truncate(write(tmp_path / 'epoch_4.pth'))
    # One changed number, which torch.load does not notice.
    flipped = write(tmp_path / 'epoch_5.pth')
    data = bytearray(flipped.read_bytes())
    value = torch.full((1000,), 1.0).numpy().tobytes()
    data[data.index(value) + 2000] ^= 255
    flipped.write_bytes(data)
    torch.load(flipped, weights_only=True)
    assert newest_whole_checkpoint(tmp_path) == str(good)
    assert len(warnings) == 4
    for number, text in zip((5, 4, 3, 2), warnings):
        assert f'epoch_{number}.pth' in text
        assert text.endswith(f'using {good} instead.')


def test_nothing_whole(tmp_path, warnings):
    assert newest_whole_checkpoint(tmp_path) is None
    (tmp_path / 'epoch_2.pth').write_bytes(b'')
    assert newest_whole_checkpoint(tmp_path) is None
    assert len(warnings) == 1
