"""tools/run_zoo.py on a few drawn images: runs, stops, goes on, reports."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]


@pytest.fixture
def data(tmp_path):
    """Ten classes of coloured noise, laid out as CIFAR-10 is."""
    rng = np.random.default_rng(0)
    for split, count in (('train', 8), ('test', 3)):
        for label in range(10):
            folder = tmp_path / 'data' / split / f'class{label}'
            folder.mkdir(parents=True)
            for i in range(count):
                noise = rng.integers(0, 25, (32, 32, 3)) + 20 * label
                Image.fromarray(noise.astype(np.uint8)).save(folder / f'{i}.png')
    return tmp_path / 'data'


def zoo(tmp_path, data, *words):
    options = (
        *('train_dataloader.batch_size=16', 'train_dataloader.num_workers=0'),
        *('train_dataloader.persistent_workers=False', 'test_dataloader.num_workers=0'),
        *('param_scheduler.0.end=1', 'param_scheduler.1.begin=1'),
    )
    return subprocess.run(
        [
            *(sys.executable, ROOT / 'tools' / 'run_zoo.py', 'run'),
            *('--data-root', data, '--work-dir', tmp_path / 'work'),
            *('--results', tmp_path / 'results', '--epochs', '2', '--threads', '1'),
            *('--tuning-epochs', '0.67', *words, '--cfg-options', *options),
        ],
        capture_output=True,
        text=True,
    )


@pytest.mark.slow
def test_a_row_from_pretraining_to_its_file(tmp_path, data):
    first = zoo(tmp_path, data, '--rows', 'mff', '--steps', 'pretrain')
    assert first.returncode == 0, first.stdout + first.stderr
    assert first.stdout == 'mff, seed 0: pretrain done\n'
    file = tmp_path / 'results' / 'micro_mff_seed0.json'
    result = json.loads(file.read_text())
    found = result['steps']['pretrain']['found']
    seen = [point['images_seen'] for point in found['evaluations']]
    assert seen[0] == 0 and len(seen) == 3
    assert {'knn_top1', 'linear_top1', 'linear_top1_block01', 'fusion_weight_0'} <= set(
        found['trained']
    )
    assert result['flops_per_image'] > 0

    steps = ('--steps', 'pretrain', 'finetune-100percent')
    second = zoo(tmp_path, data, '--rows', 'mff', *steps)
    assert second.stdout == 'mff, seed 0: finetune-100percent done\n', second.stderr
    whole = json.loads(file.read_text())
    assert whole['steps']['pretrain'] == result['steps']['pretrain']
    assert 0 <= whole['steps']['finetune-100percent']['found']['accuracy/top1'] <= 100

    again = zoo(tmp_path, data, '--rows', 'mff', *steps)
    assert (again.returncode, again.stdout) == (0, '')
    assert json.loads(file.read_text()) == whole

    other = zoo(tmp_path, data, '--rows', 'mff', *steps, '--epochs', '3')
    assert other.returncode == 1
    assert "was run with {'options': {'train_cfg.max_epochs': 2}}" in other.stderr


@pytest.mark.slow
def test_a_failed_row_is_told_and_costs_no_other(tmp_path, data):
    shutil.rmtree(data / 'test')
    done = zoo(tmp_path, data, '--rows', 'mff', 'mae', '--steps', 'pretrain')
    assert done.returncode == 1
    assert 'error: 2 of 2 failed' in done.stderr
    assert 'mae, seed 0, pretrain: train.py ended with status 1' in done.stderr


def test_mistakes(tmp_path, data):
    for words, message in (
        (('--rows', 'simclr'), 'no row "simclr"'),
        (('--jobs', '0'), '--jobs: got 0, expected more than 0'),
    ):
        done = zoo(tmp_path, data, *words)
        assert done.returncode == 1
        assert message in done.stderr
