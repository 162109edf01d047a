"""tools/run_zoo.py on a few drawn images: runs, stops, goes on, reports."""

import importlib.util
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
    done, table = first.stdout.split('\n', 1)
    assert done == 'mff, seed 0: pretrain done'
    assert '| MFF | ' in table
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
    done = second.stdout.split('\n')[0]
    assert done == 'mff, seed 0: finetune-100percent done', second.stderr
    whole = json.loads(file.read_text())
    assert whole['steps']['pretrain'] == result['steps']['pretrain']
    assert 0 <= whole['steps']['finetune-100percent']['found']['accuracy/top1'] <= 100

    again = zoo(tmp_path, data, '--rows', 'mff', *steps)
    assert (again.returncode, again.stdout.count('done')) == (0, 0)
    assert json.loads(file.read_text()) == whole

    other = zoo(tmp_path, data, '--rows', 'mff', *steps, '--epochs', '3')
    assert other.returncode == 1
    assert 'pretrain was run with epochs 2 (now 3)' in other.stderr


@pytest.mark.slow
def test_failed_rows_are_told(tmp_path, data):
    shutil.rmtree(data / 'test')
    done = zoo(tmp_path, data, '--rows', 'mff', 'mae', '--steps', 'pretrain')
    assert done.returncode == 1
    assert 'error: 2 of 2 failed' in done.stderr
    assert 'mae, seed 0, pretrain: train.py ended with status 1' in done.stderr


def test_mistakes(tmp_path, data):
    for words, message in (
        (('--rows', 'simclr'), 'no row "simclr"'),
        (('--jobs', '0'), '--jobs: got 0, expected at least 1'),
        (('--steps', 'pretrain', '--epochs', '-1'), '--epochs: got -1, expected more'),
    ):
        done = zoo(tmp_path, data, *words)
        assert done.returncode
        assert message in done.stderr
        assert 'Traceback' not in done.stderr


@pytest.fixture
def tool():
    spec = importlib.util.spec_from_file_location('run_zoo', ROOT / 'tools/run_zoo.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_pages_are_what_report_writes(tool, tmp_path, monkeypatch):
    for name in ('README', 'PAGE', 'METAFILE'):
        page = getattr(tool, name)
        shutil.copy(page, tmp_path / name)
        monkeypatch.setattr(tool, name, tmp_path / name)
    monkeypatch.setattr(tool, 'PLOTS', tmp_path)
    tool.main(['report'])
    assert (tmp_path / 'zoo_micro.png').is_file()
    for name, page in (
        ('README', 'README.md'),
        ('PAGE', 'docs/zoo.md'),
        ('METAFILE', 'configs/cifar10/metafile.yml'),
    ):
        assert (tmp_path / name).read_text() == (ROOT / page).read_text()


def test_another_budget_does_not_get_into_the_pages(tool, tmp_path):
    committed = ROOT / 'benchmarks/zoo/micro_mae_seed0.json'
    result = json.loads(committed.read_text())
    result['steps']['pretrain']['facts']['epochs'] = 1
    (tmp_path / committed.name).write_text(json.dumps(result))
    with pytest.raises(SystemExit, match=r'pretrain was run with epochs 1 \(now 6\)'):
        tool.main(['report', '--results', str(tmp_path)])
    with pytest.raises(SystemExit, match='holds no results'):
        tool.main(['report', '--results', str(tmp_path / 'nothing')])
