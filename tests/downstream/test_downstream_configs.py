"""Every config of a detector or segmenter: loads, builds, trains, evaluates."""

import math
import re

import pytest
import torch
from config_files import name_of
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import MODELS, init_default_scope
from shrink import ALL

from mim_zoo import cli
from mim_zoo.engine import LayerDecayConstructor
from mim_zoo.models import MIMViT

# of the official recipes: rate, weight decay, layer decay, drop path, blocks, length
FACTS = {
    'mask-rcnn_vit-base': (1e-4, 0.1, 0.7, 0.1, (2, 5, 8, 11), 100),
    'mask-rcnn_vit-large': (1e-4, 0.1, 0.8, 0.4, (5, 11, 17, 23), 100),
    'cascade-mask-rcnn_vit-base': (1e-4, 0.05, 0.75, 0.2, (3, 5, 7, 11), 12),
    'cascade-mask-rcnn_vit-large': (1e-4, 0.05, 0.75, 0.2, (7, 11, 15, 23), 12),
    'upernet_vit-base': (1e-4, 0.05, 0.65, 0.1, (3, 5, 7, 11), 160000),
    'upernet_vit-large': (3e-5, 0.05, 0.95, 0.2, (7, 11, 15, 23), 160000),
}
each = pytest.mark.parametrize('path', ALL, ids=name_of)
TOTALS = {  # millions: ViTDet's 111 and 331, with positions for 64 x 64 places
    'mask-rcnn_vit-base-p16': 113.9,
    'mask-rcnn_vit-large-p16': 334.7,
}


class Watch(Hook):
    priority = 'LOWEST'

    def __init__(self):
        self.losses, self.metrics = [], {}

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.losses.append(float(outputs['loss']))

    def after_val_epoch(self, runner, metrics=None):
        self.metrics = dict(metrics)


def full_size(path) -> tuple[Config, torch.nn.Module]:
    cfg = Config.fromfile(path)
    init_default_scope(cfg.default_scope)
    with torch.device('meta'):
        return cfg, MODELS.build(cfg.model)


def test_both_tasks_have_both_encoders() -> None:
    names = ' '.join(map(name_of, ALL))
    for model in ('coco/mask-rcnn', 'coco/cascade-mask-rcnn', 'ade20k/upernet'):
        assert f'{model}_vit-base' in names
        assert f'{model}_vit-large' in names
    for model in ('coco/mask-rcnn', 'ade20k/upernet'):
        assert f'{model}_mixmim-base' in names
        assert f'{model}_mixmim-large' in names


@each
def test_opens_with_a_command_that_names_it(path) -> None:
    head = re.match(r'(#.*\n)+', path.read_text()).group().replace('\\\n#', '')
    assert re.search(rf'tools/\w+\.(py|sh)\s+configs/{name_of(path)}\.py', head)
    assert re.search(r'Hardware: .*\d', head)
    assert re.search(r'Expected[^:]*: [^_]*\d', head)


@each
def test_dumps_and_reloads_equal(path, tmp_path) -> None:
    cfg = Config.fromfile(path)
    cfg.dump(tmp_path / 'dumped.py')
    assert Config.fromfile(tmp_path / 'dumped.py')._cfg_dict == cfg._cfg_dict


@each
def test_builds_at_full_size(path) -> None:
    _, model = full_size(path)
    total = sum(p.numel() for p in model.parameters()) / 1e6
    for name, expected in TOTALS.items():
        if path.stem.startswith(name):
            assert round(total, 1) == expected


@pytest.mark.parametrize('name', FACTS)
def test_numbers_are_those_of_the_official_recipe(name: str) -> None:
    path = next(p for p in ALL if p.stem.startswith(f'{name}-p16'))
    cfg = Config.fromfile(path)
    optimizer, encoder = cfg.optim_wrapper.optimizer, cfg.model.backbone
    length = cfg.train_cfg.get('max_iters') or cfg.train_cfg.max_epochs
    found = (
        *(optimizer.lr, optimizer.weight_decay),
        cfg.optim_wrapper.paramwise_cfg.layer_decay_rate,
        encoder.drop_path_rate,
        tuple(encoder.get('global_blocks') or encoder.out_indices),
        length,
    )
    assert found == FACTS[name]
    assert encoder.final_norm is False


@each
def test_every_layer_has_its_rate(path) -> None:
    cfg, model = full_size(path)
    wrapper = cfg.optim_wrapper
    rules = wrapper.get('paramwise_cfg', {})
    groups = LayerDecayConstructor(dict(optimizer=wrapper.optimizer), rules)(model)
    found = {id(p): g for g in groups.optimizer.param_groups for p in g['params']}
    rate = rules.get('layer_decay_rate', 1.0)
    flat = rules.get('backbone_lr_mult', 1.0)
    encoder, base = model.backbone, wrapper.optimizer.lr
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        group, scale = found[id(parameter)], 1.0
        if name.startswith('backbone.'):
            layer, count = encoder.get_layer_depth(name, 'backbone.')
            scale = flat * rate ** (count - 1 - layer)
        assert group['lr'] == pytest.approx(base * scale)
        ends = tuple(f'.{rule}' for rule in rules.get('no_decay_names', ()))
        kept = parameter.ndim < 2 or name.endswith(('.bias', *ends))
        assert (group['weight_decay'] == 0) is kept, name
    if isinstance(encoder, MIMViT) and encoder.frozen_stages == -1:
        assert encoder.pos_embed.requires_grad
        embed = found[id(encoder.pos_embed)]
        scale = flat * rate ** (len(encoder.blocks) + 1)
        assert embed['lr'] == pytest.approx(base * scale)


@each
def test_trains_and_evaluates(path, shrunk) -> None:
    runner, watch = cli.build_runner(shrunk(path)), Watch()
    runner.register_hook(watch)
    runner.train()
    assert len(watch.losses) == 4
    assert all(map(math.isfinite, watch.losses))
    wanted = ('coco/bbox_mAP', 'coco/segm_mAP') if 'rcnn' in path.stem else ('mIoU',)
    for name in wanted:
        assert 0 <= watch.metrics[name] <= 100


@pytest.mark.parametrize('path', [p for p in ALL if 'base' in p.stem], ids=name_of)
def test_starts_from_a_file_of_pre_training(path, shrunk) -> None:
    cfg = shrunk(path)
    state = torch.load(cfg.model.backbone.init_cfg.checkpoint)['state_dict']
    init_default_scope(cfg.default_scope)
    model = MODELS.build(cfg.model)
    model.init_weights()
    own = model.backbone.state_dict()
    block = next(k for k in own if k.endswith('.0.mlp.fc1.weight'))
    assert torch.equal(own[block], state[f'backbone.{block}'])
    equal = [torch.equal(v, own[k[9:]]) for k, v in state.items() if k[9:] in own]
    assert sum(equal) > 0.8 * len(state)
