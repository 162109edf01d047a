"""What the configs and the README of MixMIM (2205.13137) say."""

import math
import re

import pytest
import torch
from config_files import CONFIGS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from tiny import ALL, OneEpoch, make_data, tiny, with_options

from mim_zoo.engine import LayerDecayConstructor
from mim_zoo.engine.runner import ZooRunner
from mim_zoo.registry import MODELS

PRETRAINING = 'mixmim/mixmim_mixmim-base-w14_16xb128-amp-coslr-600e_in1k.py'
FINE_TUNING = 'imagenet/mixmim-base-w14_8xb128-amp-coslr-100e_in1k.py'
README = (CONFIGS / 'mixmim/README.md').read_text()
TABLE = README.split('## Variants')[1].split('\n## ')[0]
VARIANTS = re.findall(r'^\| ([^|]+) \| `(model[^`]+)` \|$', TABLE, re.M)


def load(name):
    return Config.fromfile(CONFIGS / name)


def build(cfg):
    init_default_scope('mim_zoo')
    with torch.device('meta'):
        return MODELS.build(cfg.model)


def test_the_readme_lists_the_variants():
    assert len(VARIANTS) == 5


@pytest.mark.parametrize(('what', 'options'), VARIANTS, ids=[w for w, _ in VARIANTS])
def test_variants_build_and_train(what, options, tmp_path):
    cfg = with_options(CONFIGS / PRETRAINING, options.split())
    model = build(cfg)
    assert type(model.backbone) is MODELS.get(cfg.model.backbone.type)
    assert cfg.model != load(PRETRAINING).model
    grid = model.backbone.grid((224, 224))
    mask = model.data_preprocessor.masking.sample(torch.arange(4), grid).float()
    assert mask.mean(1).numpy() == pytest.approx(0.5, abs=0.011)  # 24 or 25 of 49 cells
    cfg = tiny(cfg, make_data(tmp_path / 'data'), tmp_path, tmp_path / 'run')
    runner = ZooRunner.from_cfg(cfg)
    stop = OneEpoch()
    runner.register_hook(stop)
    runner.train()
    assert len(stop.losses) == 2
    assert all(map(math.isfinite, stop.losses))


def test_decoders_have_the_eps_of_the_encoder():
    paths = [p for p in ALL if p.stem.startswith('mixmim_')]
    assert len(paths) == 8
    for path in paths:
        model = build(Config.fromfile(path))
        norms = [m for m in model.modules() if isinstance(m, torch.nn.LayerNorm)]
        assert {norm.eps for norm in norms} == {1e-5}, path


def test_pretraining_is_as_published():
    cfg = load(PRETRAINING)
    optimizer = dict(type='AdamW', lr=1.5e-4 * 2048 / 256, betas=(0.9, 0.95))
    assert cfg.optim_wrapper.optimizer == dict(optimizer, weight_decay=0.05)
    assert [s.begin for s in cfg.param_scheduler] == [0, 40]
    assert cfg.train_dataloader.dataset.pipeline[1].scale == (0.2, 1.0)
    assert build(cfg).data_preprocessor.masking.num_hidden((7, 7)) == 24


def test_sizes_and_lengths_are_all_that_differs():
    base = load(PRETRAINING)
    short = load(PRETRAINING.replace('600e', '300e'))
    short.train_cfg.max_epochs = 600
    assert short._cfg_dict == base._cfg_dict
    for arch in ('large', 'huge'):
        other = load(PRETRAINING.replace('base', arch))
        other.model.backbone.arch = 'base'
        assert other._cfg_dict == base._cfg_dict


@pytest.mark.parametrize(
    'name',
    [
        'cifar10/mixmim_mixmim-micro-w8_1xb128-coslr-6e_cifar10-50percent.py',
        'cifar10/mixmim_mixmim-tiny-w8_1xb512-amp-coslr-400e_cifar10.py',
        'photos/mixmim_mixmim-micro-w8_photos-32px.py',
    ],
)
def test_small_runs_are_trained_as_mae_is(name):
    cfg = load(name)
    mae = load(name.replace('mixmim_mixmim', 'mae_vit').replace('w8', 'p4'))
    cfg.model = mae.model
    assert cfg._cfg_dict == mae._cfg_dict


def rates(cfg):
    """Name -> (lr, weight decay) of what is trained."""
    model = build(cfg)
    wrapper = cfg.optim_wrapper
    rules = dict(wrapper.get('paramwise_cfg', {}))
    groups = LayerDecayConstructor(wrapper, rules).param_groups(model)
    names = {id(param): name for name, param in model.named_parameters()}
    return {
        names[id(param)]: (group['lr'], group.get('weight_decay', 0.05))
        for group in groups
        for param in group['params']
    }


def test_fine_tuning_rates_of_the_table_in_the_readme():
    option = re.search(r'--cfg-options (optim_wrapper\S+=True)`', README)[1]
    ours = rates(load(FINE_TUNING))
    official = rates(with_options(CONFIGS / FINE_TUNING, [option]))
    for found, top in ((ours, 1.0), (official, 0.7)):
        assert found['head.weight'] == (pytest.approx(2e-3 * top), 0.05)
        assert found['backbone.norm.weight'] == (pytest.approx(2e-3 * top), 0.0)
        patches = found['backbone.patch_embed.proj.weight'][0]
        assert patches / 2e-3 == pytest.approx(0.000134, rel=5e-3)
        table = found['backbone.layers.3.blocks.1.attn.relative_position_bias_table']
        assert table == (pytest.approx(2e-3 * 0.7), 0.05)
    top = [name for name in ours if ours[name] != official[name]]
    assert {name.rsplit('.', 1)[0] for name in top} == {'backbone.norm', 'head'}


@pytest.mark.parametrize('arch', ['base', 'large'])
def test_384_px(arch):
    name = f'imagenet/mixmim-{arch}-w16_8xb128-amp-coslr-100e_in1k-384px.py'
    cfg, usual = load(name), load(FINE_TUNING.replace('base', arch))
    backbone = cfg.model.backbone
    assert backbone.pop('windows') == (16, 16, 24, 12)
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        sizes = [t.size for t in loader.dataset.pipeline if 'size' in t]
        assert set(sizes) == {384}
    backbone.img_size = 224
    for part in ('model', 'optim_wrapper', 'param_scheduler', 'train_cfg'):
        assert cfg[part] == usual[part]


@pytest.mark.parametrize('snippet', re.findall(r'```python\n(.*?)```', README, re.S))
def test_python_of_the_readme(snippet):
    names = {}
    exec(snippet, names)
    if 'backbone' in names:
        init_default_scope('mim_zoo')
        with torch.device('meta'):
            encoder = MODELS.build(names['backbone'])
        assert encoder.embed_dim == 1024
    if 'maps' in names:
        shapes = [tuple(m.shape) for m in names['maps']]
        assert shapes == [(1, 128 * 2**s, 64 // 2**s, 48 // 2**s) for s in range(4)]
