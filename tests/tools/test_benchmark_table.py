"""The table that README.md has of the committed results."""

import json
from pathlib import Path

import pytest

from mim_zoo.benchmark.committed import HEAD, committed_table
from mim_zoo.benchmark.names import read_name
from mim_zoo.pages import fill, fill_file

ROOT = Path(__file__).resolve().parents[2]
SPEED = dict(median=1.5, min=1.25, max=2.0, pairs=[1.5, 1.25, 2.0])


def result(command: str, **more) -> dict:
    machine = dict(cpu='c', cores=2, gpu=None)
    sides = [
        dict(name='mim_zoo', config='mae_vit-base-p16_8xb512-300e', options={'a.b': 1}),
        dict(name='other', config='mae_vit-base-p16_8xb512-300e', options={'a.b': [2]}),
    ]
    given = dict(batch=16, dtype='bf16', compile='blocks')
    found = dict(command=command, machine=machine, versions=dict(torch='2.9.0+cpu'))
    return {**found, 'arguments': given, 'sides': sides, **more}


def row(tmp_path, found: dict) -> str:
    (tmp_path / 'x.json').write_text(json.dumps(found))
    lines = committed_table(tmp_path, 'there').splitlines()
    assert '\n'.join(lines[:2]) == HEAD
    return '\n'.join(lines[2:])


def test_readme_is_what_the_files_say() -> None:
    page = (ROOT / 'README.md').read_text()
    table = committed_table(ROOT / 'benchmarks', 'benchmarks')
    assert fill(page, 'benchmarks', table) == page, 'run tools/benchmark.py table'


def test_a_comparison_is_a_row(tmp_path) -> None:
    assert row(
        tmp_path, result('step', speed_ratio=SPEED, memory_ratio=0.751)
    ) == (
        '| [training step, mae_vit-base-p16, batch 16, bf16, blocks compiled]'
        '(there/x.json) | `a.b=[2]` | 1.50 (1.25 to 2.00) | 0.75 | 2 CPU cores, '
        'torch 2.9.0 |'
    )  # fmt: skip
    found = result('step', speed_ratio=SPEED, memory_ratio=None)
    found['sides'][1].update(name='mmpretrain', config='other_8xb1')
    found['machine']['gpu'] = 'H'
    assert '| mmpretrain | 1.50 (1.25 to 2.00) |  | H, torch' in row(tmp_path, found)
    found['sides'][1]['name'] = 'other'
    assert '| `other` |' in row(tmp_path, found)


def test_one_side_alone_is_none(tmp_path) -> None:
    assert row(tmp_path, result('step')) == ''


def test_a_loader_is_a_row_for_each_way(tmp_path) -> None:
    sides = [
        dict(name=name, speed_ratio=SPEED, batch_shape=[64, 3, 224, 224])
        for name in ('exact', 'fast', 'official')
    ]
    lines = row(tmp_path, result('loader', sides=sides)).splitlines()
    assert len(lines) == 2
    assert lines[1].startswith('| [loading, `fast`, 224 px](there/x.json) | official ')


def test_parts_of_pages(tmp_path) -> None:
    page = 'a\n<!-- x -->\nold\n<!-- /x -->\n<!-- y -->\n<!-- /y -->\nb'
    assert fill(page, 'x', r'n\1w') == page.replace('old', r'n\1w')
    assert fill(page, 'y', '1\n2\n').endswith('<!-- y -->\n1\n2\n<!-- /y -->\nb')
    with pytest.raises(ValueError, match='0 parts named z, expected one'):
        fill(page, 'z', '')
    with pytest.raises(ValueError, match='2 parts named x'):
        fill(page + page, 'x', '')
    (tmp_path / 'p.md').write_text(page)
    assert fill_file(tmp_path / 'p.md', 'x', 'new')
    assert not fill_file(tmp_path / 'p.md', 'x', 'new')
    assert 'new' in (tmp_path / 'p.md').read_text()


def test_what_a_name_says() -> None:
    stem = 'mae-clip_vit-base-p16_8xb512-amp-coslr-1600e_in1k'
    parts = ('mae-clip_vit-base-p16', 8, 'mae-clip_vit-base', 'mae-clip', 'base')
    assert read_name(stem) == parts
    assert read_name('x_1xb2') == ('x', 1, None, None, None)
    assert read_name('mae_vit-base-p16') == ('mae_vit-base-p16', *(None,) * 4)
