"""What ``tools/benchmark.py`` measures, and what it makes of it."""

import json
import math
import mmap
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from measuring import blocks, write
from test_cli import python

from mim_zoo.benchmark import (
    Schedule,
    Side,
    Stepper,
    Work,
    compare,
    our_side,
    peer_side,
    ratios,
)
from mim_zoo.benchmark import memory as memory_module
from mim_zoo.benchmark.compare import rates, turns
from mim_zoo.benchmark.measured import synthetic_images
from mim_zoo.benchmark.memory import PeakMemory
from mim_zoo.benchmark.sides import methods
from mim_zoo.benchmark.step import LEARNING_RATE
from mim_zoo.benchmark.workers import Worker, _told
from mim_zoo.paths import PACKAGE


def stepper(side: Side, work: Work, warm_up: int = 1) -> Stepper:
    built = Stepper(side, work)
    built.prepare(built.facts()['image_shape'], warm_up)
    return built


def test_sides_take_turns() -> None:
    assert turns(3, 2) == [[0, 1], [1, 0], [0, 1]]
    assert turns(2, 1) == [[0], [0]]


def test_ratios_are_of_pairs() -> None:
    """The median of the ratios, here 3, is not the ratio of the medians, 2."""
    found = ratios([1.0, 2.0, 4.0], [3.0, 8.0, 4.0])
    assert found == dict(median=3.0, min=1.0, max=4.0, pairs=[3.0, 4.0, 1.0])
    with pytest.raises(ValueError):
        ratios([1.0], [1.0, 2.0])


def test_rates() -> None:
    found = rates([0.5, 0.25, 4.0], batch=8, flops_per_image=2e9, peak_tflops=0.064)
    assert found['ms_per_step'] == 500
    assert found['images_per_second'] == 16
    assert found['gflops_per_image'] == 2
    assert found['mfu'] == pytest.approx(0.5)
    assert rates([0.5], 8, 2e9, None)['mfu'] is None


def test_methods_are_those_of_the_configs() -> None:
    found = methods()
    for method, size in [('mae', 'huge'), ('mff', 'base'), ('mixmim', 'large')]:
        name = Path(found[method, size]).name
        assert name.startswith(f'{method}_') and f'-{size}-' in name
    for name in found.values():
        assert 'corruption' in our_side(name, {}).model, name  # it pre-trains


def test_a_step_is_a_training_step(side) -> None:
    work = Work(batch=3)
    built = stepper(side, work, warm_up=2)
    before = [p.clone() for p in built.model.parameters()]
    assert built.run(2) > 0
    moved = [not torch.equal(a, b) for a, b in zip(before, built.model.parameters())]
    assert any(moved)
    assert len(built.losses) == 4
    assert 1 < built.result()['first_loss'] < 3  # normalised noise, untrained
    assert built.facts()['image_shape'] == (3, 32, 32)
    assert built.facts()['parameters'] == sum(p.numel() for p in before)


def test_the_optimizer_is_the_configs(side) -> None:
    groups = Stepper(side, Work(batch=1)).optim_wrapper.optimizer.param_groups
    assert {group['lr'] for group in groups} == {LEARNING_RATE}
    assert {group['weight_decay'] for group in groups} == {0.0, 0.05}
    assert {group['betas'] for group in groups} == {(0.9, 0.95)}


def test_everyone_gets_the_same_images() -> None:
    images = synthetic_images(2, (3, 8, 6), seed=1)
    assert images.shape == (2, 3, 8, 6) and images.dtype == torch.uint8
    assert torch.equal(images, synthetic_images(2, (3, 8, 6), seed=1))
    assert not torch.equal(images, synthetic_images(2, (3, 8, 6), seed=2))


@pytest.mark.parametrize('batch', [1, 3])
def test_flops_are_those_of_the_formula(side, batch) -> None:
    """Matrix products of the encoder on 1 + 16 tokens, of the decoder on 1 + 64."""
    built = stepper(side, Work(batch))
    pixels, seen, whole = 3 * 4 * 4, 1 + 16, 1 + 64
    trunk = blocks(seen, 16, 2) + blocks(whole, 24, 1)
    ends = 2 * seen * 16 * 24 + 2 * 64 * 24 * pixels
    embedding = 2 * 64 * pixels * 16  # images get no gradient
    assert built.flops_per_image() == 3 * (trunk + ends) + 2 * embedding
    assert built.run(1) > 0


def test_the_profile_lists_the_top(side) -> None:
    rows = stepper(side, Work(batch=2)).profile(4)
    assert len(rows) == 4
    assert [row['ms'] for row in rows] == sorted((r['ms'] for r in rows), reverse=True)
    assert 0 < sum(row['share'] for row in rows) <= 1


needs_proc = pytest.mark.skipif(
    memory_module.resident('VmRSS') is None, reason='needs /proc'
)


def use(mib: int) -> None:
    """Take memory from the kernel, not from what malloc has left; give it back."""
    with mmap.mmap(-1, mib * 2**20) as pages:
        for place in range(0, len(pages), mmap.PAGESIZE):
            pages[place] = 1


@needs_proc
def test_peak_memory_is_that_of_the_steps() -> None:
    peak = PeakMemory(torch.device('cpu'))
    use(100)
    peak.start()
    use(200)
    peak.reset()
    use(50)
    assert 40 < peak.read()['peak_mib'] < 90
    assert peak.read()['before_mib'] > 50


@needs_proc
def test_an_older_peak_is_not_reported(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(memory_module, 'CLEAR', tmp_path / 'not' / 'allowed')
    peak = PeakMemory(torch.device('cpu'))
    use(100)
    peak.start()
    use(10)
    assert peak.read()['peak_mib'] is None
    highest = memory_module.resident('VmHWM') - memory_module.resident('VmRSS')
    use(int(highest + 50))
    assert peak.read()['peak_mib'] == pytest.approx(highest + 50, abs=20)


@pytest.fixture
def peer(monkeypatch, tmp_path) -> Path:
    """An empty package of the peer's name with configs as it has them."""
    configs = tmp_path / 'mmpretrain' / '.mim' / 'configs'
    (tmp_path / 'mmpretrain' / '__init__.py').parent.mkdir()
    (tmp_path / 'mmpretrain' / '__init__.py').touch()
    (configs / 'mae').mkdir(parents=True)
    for encoder in ('hivit-base-p16', 'vit-base-p16', 'vit-large-p16'):
        text = f"""
model = dict(type='MAE', encoder='{encoder}')
data_preprocessor = dict(mean=[1])
optim_wrapper = dict(type='AmpOptimWrapper', optimizer=dict(type='AdamW'))
"""
        name = f'mae_{encoder}_8xb512-amp-coslr-300e_in1k.py'
        (configs / 'mae' / name).write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    return configs


def test_the_peers_config_is_of_the_same_model(peer) -> None:
    ours = our_side(methods()['mae', 'base'], {})
    theirs = peer_side('mmpretrain', None, ours)
    assert theirs.package == 'mmpretrain'
    assert theirs.model == dict(
        type='MAE', encoder='vit-base-p16', data_preprocessor=dict(mean=[1])
    )
    named = 'mae/mae_vit-large-p16_8xb512-amp-coslr-300e_in1k.py'
    assert peer_side('mmpretrain', named, ours).model['encoder'] == 'vit-large-p16'
    with pytest.raises(ValueError, match=r'has no mae/gone\.py below its configs/'):
        peer_side('mmpretrain', 'mae/gone.py', ours)
    with pytest.raises(ValueError, match='no config named mff_vit-base'):
        peer_side('mmpretrain', None, our_side(methods()['mff', 'base'], {}))
    with pytest.raises(ValueError, match='name one with --peer-config'):
        peer_side('mmpretrain', None, replace(ours, config='mine'))


@pytest.mark.slow
def test_two_configs_side_by_side(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, depth in (('one', 1), ('two', 2)):
        write(tmp_path, name, depth)
    text = python(
        *('benchmark', 'step', '--config', 'one.py', '--against', 'two.py'),
        *('--device', 'cpu', '--threads', 1, '--batch', 2, '--pairs', 2),
        *('--peak-tflops', 1, '--profile', 3, '--json', 'results/step.json'),
    )
    result = json.loads(Path('results/step.json').read_text())
    one, two = result['sides']
    assert (one['config'], two['config']) == ('one', 'two')
    assert (one['name'], two['name']) == ('mim_zoo', 'other')
    for one_side in result['sides']:
        assert len(one_side['seconds']) == 2
        assert one_side['threads'] == 1
        assert one_side['image_shape'] == [3, 32, 32]
        assert all(math.isfinite(one_side[k]) for k in ('first_loss', 'last_loss'))
    assert one['parameters'] < two['parameters']
    assert one['gflops_per_image'] < two['gflops_per_image']
    expected = [b / a for a, b in zip(one['seconds'], two['seconds'])]
    assert result['speed_ratio']['pairs'] == pytest.approx(expected)
    if memory_module.resident('VmRSS') is not None:
        peaks = [s['memory']['peak_mib'] for s in (one, two)]
        assert result['memory_ratio'] == pytest.approx(peaks[0] / peaks[1])
    assert result['command'] == 'step'
    assert result['arguments']['batch'] == 2 and result['arguments']['pairs'] == 2
    assert result['machine']['cores'] == os.cpu_count()
    assert result['versions']['torch'] == torch.__version__
    assert 'as fast as other' in text and 'mim_zoo: one step' in text
    assert str(tmp_path) not in json.dumps(result)


@pytest.mark.slow
def test_one_config_alone_and_a_mistake_in_a_process(side) -> None:
    result = compare(Stepper, [side], Work(batch=2), Schedule(pairs=1))
    assert 'speed_ratio' not in result and len(result['sides']) == 1
    wrong = replace(side, model={**side.model, 'corruption': dict(type='MixImages')})
    with pytest.raises(ValueError, match='mim_zoo: MixImages: got an encoder with'):
        Worker(side.name, Stepper, wrong, Work(batch=2))


@pytest.mark.slow
def test_the_end_of_a_process_is_told() -> None:
    with pytest.raises(ValueError, match='ours: its process ended with status 3'):
        Worker('ours', os._exit, 3)
    with pytest.raises(
        RuntimeError, match=r'(?s)ours failed in its process.*TypeError'
    ):
        Worker('ours', len, 3)


@pytest.mark.parametrize(
    ('file', 'kind'),
    [
        (PACKAGE / 'models' / 'vit.py', 'mistake'),
        (PACKAGE.parent / '.venv' / 'torch' / 'x.py', 'error'),
        ('/home/me/mim_zoo/.venv/torch/x.py', 'error'),
    ],
)
def test_mistakes_are_what_the_package_itself_raises(file, kind) -> None:
    with pytest.raises(ValueError) as raised:
        exec(compile("raise ValueError('wrong')", str(file), 'exec'))
    assert _told(raised.value)[0] == kind


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
def test_on_a_gpu(side) -> None:
    built = stepper(side, Work(batch=2, dtype='bf16', device='cuda'))
    assert built.run(2) > 0
    found = built.result()
    assert found['memory']['peak_mib'] > found['memory']['before_mib'] > 0
    assert built.profile(3) and built.flops_per_image() > 0
