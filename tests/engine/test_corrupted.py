"""A classifier measured on corrupted images, by tools/test.py."""

import json
import sys
from importlib import import_module
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mim_zoo.datasets.corruptions import CORRUPTIONS
from mim_zoo.engine.corrupted import is_imagenet, with_corruption
from mim_zoo.registry import LOOPS, MODELS

CONFIG = """
_base_ = [{base!r}]
model = dict(backbone=dict(patch_size=16))
test_dataloader = dict(batch_size=64, num_workers=0)
"""


@pytest.fixture
def package(monkeypatch):
    """Stands for imagecorruptions: a corruption makes images black from severity 3."""
    package = ModuleType('imagecorruptions')

    def corrupt(image, severity, corruption_name):
        return np.zeros_like(image) if severity > 2 else image

    functions = {name: lambda x, severity: x for name in CORRUPTIONS}
    package.corrupt, package.corruptions = corrupt, SimpleNamespace(**functions)
    monkeypatch.setitem(sys.modules, 'imagecorruptions', package)


@pytest.fixture
def run(tmp_path, pytestconfig, monkeypatch, package):
    base = pytestconfig.rootpath / 'configs/digits/vit-micro-p4_scratch_digits-32px.py'
    (tmp_path / 'config.py').write_text(CONFIG.format(base=str(base)))
    cfg = Config.fromfile(tmp_path / 'config.py')
    init_default_scope('mim_zoo')
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    torch.nn.init.normal_(model.head.weight)
    torch.save({'state_dict': model.state_dict()}, tmp_path / 'model.pth')
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(pytestconfig.rootpath / 'tools'))
    monkeypatch.delitem(sys.modules, 'test', raising=False)
    tool = import_module('test')

    def call(*words):
        tool.main(['config.py', 'model.pth', '--out', 'out.json', *words])
        return json.loads((tmp_path / 'out.json').read_text())

    yield call
    sys.modules.pop('test')


def test_errors_by_corruption_and_severity(run):
    found = run('--corruptions', 'fog', 'snow', '--severities', '1', '3')
    clean = 100 - found['accuracy/top1']
    assert found['errors']['fog']['1'] == pytest.approx(clean)
    black = found['errors']['fog']['3']
    assert black != pytest.approx(clean)
    assert found['errors']['snow'] == found['errors']['fog']
    assert found['error/snow'] == pytest.approx((clean + black) / 2)
    assert found['mCE_plain'] == pytest.approx((clean + black) / 2)
    assert 'mCE_normalised' not in found


def test_nothing_is_corrupted_without_being_asked(run):
    assert not [name for name in run() if 'error' in name or 'mCE' in name]


def test_a_share_of_every_class(run, monkeypatch):
    sizes = []
    whole = LOOPS.get('TestLoop').run

    def counting(loop):
        sizes.append(len(loop.dataloader.dataset))
        return whole(loop)

    monkeypatch.setattr(LOOPS.get('TestLoop'), 'run', counting)
    found = run('--corruptions', 'fog', '--severities', '1', '--corruption-share', '.1')
    assert sizes[1] == pytest.approx(sizes[0] / 10, rel=0.1)
    wrong = found['errors']['fog']['1'] * sizes[1] / 100
    assert wrong == pytest.approx(round(wrong), abs=1e-3)
    sizes.clear()
    with pytest.raises(SystemExit, match='--corruption-share: got 2'):
        run('--corruptions', 'fog', '--corruption-share', '2')
    with pytest.raises(SystemExit, match='nothing is: add --corruptions all'):
        run('--severities', '3')
    assert not sizes


def of_test(num_classes, images):
    model = Config(dict(model=dict(num_classes=num_classes)))
    loop = SimpleNamespace(dataloader=SimpleNamespace(dataset=range(images)))
    return SimpleNamespace(cfg=model, test_loop=loop)


def test_imagenet_is_known_by_its_sizes():
    assert is_imagenet(of_test(1000, 50_000))
    assert not is_imagenet(of_test(1000, 7_500))  # ImageNet-A
    assert not is_imagenet(of_test(10, 50_000))


def test_an_unknown_corruption_ends_the_command_at_once(run):
    with pytest.raises(SystemExit, match="error: Corrupt: got name='rain'"):
        run('--corruptions', 'rain')


def test_corruption_comes_last_and_only_in_a_copy():
    steps = [dict(type='LoadImage'), dict(type='mim_zoo.PackInputs')]
    inner = dict(type='ImageFolder', pipeline=steps)
    loader = dict(dataset=dict(type='ClassShare', dataset=inner))
    changed = with_corruption(loader, 'fog', 2)
    kinds = [step['type'] for step in changed['dataset']['dataset']['pipeline']]
    assert kinds == ['LoadImage', 'Corrupt', 'mim_zoo.PackInputs']
    assert len(steps) == 2
    with pytest.raises(ValueError, match='without a pipeline that ends with Pack'):
        with_corruption(dict(dataset=dict(type='Digits')), 'fog', 2)
