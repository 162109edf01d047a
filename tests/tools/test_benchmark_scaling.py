"""A training step over sizes and processes."""

import json
from contextlib import ExitStack
from dataclasses import replace

import matplotlib as mpl
import pytest
from measuring import blocks, write
from test_cli import error_of, python

from mim_zoo.benchmark import Schedule, Stepper, Work, our_side
from mim_zoo.benchmark.curves import plot_points
from mim_zoo.benchmark.scaling import (
    measure_points,
    meet,
    of_rank,
    points,
    with_depth,
)
from mim_zoo.benchmark.workers import Worker, together
from mim_zoo.registry import MODELS

ONCE = Schedule(pairs=2, steps=1, warm_up=1)


def test_a_point_changes_one_thing(side) -> None:
    work = Work(batch=4, threads=2)
    batches = points('batch', [2, 8], side, work)
    assert [p.work for p in batches] == [replace(work, batch=n) for n in (2, 8)]
    assert [p.side for p in batches] == [side, side]
    for size in points('image-size', [16, 64], side, work):
        assert MODELS.build(size.side.model).backbone.img_size == (size.value,) * 2
    for depth in points('depth', [1, 3], side, work):
        assert len(MODELS.build(depth.side.model).backbone.blocks) == depth.value
    shared = points('processes', [1, 2], side, work)
    assert [(p.processes, p.work.threads) for p in shared] == [(1, 2), (2, 1)]
    assert all(p.work.batch == 4 for p in shared)


@pytest.mark.parametrize('arch', ['base', None])
def test_depth_of_a_named_encoder(side, arch) -> None:
    backbone = dict(side.model['backbone'])
    backbone.pop('arch')
    backbone.update({} if arch is None else {'arch': arch})
    named = replace(side, model={**side.model, 'backbone': backbone})
    found = with_depth(named, 5).model['backbone']['arch']
    assert (found['embed_dim'], found['depth']) == (768, 5)


def test_depth_of_a_hierarchy() -> None:
    mixmim = our_side('mixmim/mixmim_mixmim-base-w14_16xb128-amp-coslr-300e_in1k', {})
    assert with_depth(mixmim, 6).model['backbone']['arch']['depths'] == (2, 2, 6, 2)


def test_images_cost_what_their_tokens_do(side, tmp_path) -> None:
    result = measure_points('image-size', [16, 32], side, Work(batch=2), ONCE)
    small, large = result['points']
    pixels = 3 * 4 * 4
    for point, side_px in ((small, 16), (large, 32)):
        patches = (side_px // 4) ** 2
        seen, whole = 1 + patches // 4, 1 + patches
        trunk = blocks(seen, 16, 2) + blocks(whole, 24, 1)
        ends = 2 * seen * 16 * 24 + 2 * patches * 24 * pixels
        flops = 3 * (trunk + ends) + 2 * 2 * patches * pixels * 16
        assert point['gflops_per_image'] == pytest.approx(flops / 1e9)
        assert point['image_shape'] == (3, side_px, side_px)
        assert point['images_per_second'] == pytest.approx(2e3 / point['ms_per_step'])
    for gpu, place in ((None, 'C'), ('G', 'G')):
        file = tmp_path / f'{place}.svg'
        with mpl.rc_context({'svg.fonttype': 'none'}):  # letters, not their outlines
            plot_points({**result, 'machine': dict(cpu='C', gpu=gpu)}, file)
        assert f'>{result["config"]}, {place}<' in file.read_text()


class Summed(Stepper):
    """Tells where its weights are."""

    def total(self) -> float:
        return sum(float(p.double().sum()) for p in self.model.parameters())


@pytest.mark.slow
@pytest.mark.parametrize('shared', [True, False])
def test_processes_share_gradients(side, tmp_path, shared) -> None:
    with ExitStack() as stack:
        workers = [
            stack.enter_context(Worker('w', Summed, side, of_rank(Work(2), rank)))
            for rank in range(2)
        ]
        if shared:
            meet(workers, tmp_path / 'meeting')
        together(workers, 'prepare', (3, 32, 32), 2)
        ours, theirs = together(workers, 'total')
        assert (ours == theirs) == shared
        together(workers, 'leave')
        together(workers, 'run', 1)
        ours, theirs = together(workers, 'total')
        assert ours != theirs


@pytest.mark.slow
def test_processes_count_together(side) -> None:
    work = Work(batch=2, threads=2)
    one, two = measure_points('processes', [1, 2], side, work, ONCE)['points']
    assert (one['batch'], two['batch'], two['processes']) == (2, 4, 2)
    assert two['threads'] == 1 and one['threads'] == 2
    assert two['images_per_second'] == pytest.approx(4e3 / two['ms_per_step'])
    assert two['gflops_per_image'] == one['gflops_per_image']
    assert two['parameters'] == one['parameters']


@pytest.mark.slow
def test_the_command(tmp_path) -> None:
    config = write(tmp_path, 'one', depth=1)
    text = python(
        *('benchmark', 'scaling', '--config', config, '--axis', 'batch'),
        *('--values', 1, 3, '--pairs', 2, '--device', 'cpu', '--peak-tflops', 1),
        *('--json', tmp_path / 'out.json', '--plot', tmp_path / 'out.png'),
    )
    result = json.loads((tmp_path / 'out.json').read_text())
    assert result['axis'] == 'batch' and result['config'] == 'one'
    assert [p['batch'] for p in result['points']] == [1, 3]
    assert all(0 < p['mfu'] < 1 for p in result['points'])
    assert 'MFU' in text and 'peak MiB: of one' in text
    assert (tmp_path / 'out.png').is_file()


def test_mistakes(side) -> None:
    arguments = ['--method', 'mae', '--axis', 'depth', '--values', 0, '--device', 'cpu']
    assert '--values: got 0' in error_of('benchmark', 'scaling', *arguments)
    with pytest.raises(ValueError, match='got 3 processes, expected 2 at most'):
        points('processes', [1, 3], side, Work(batch=1, threads=2))
