"""kNN needs an encoder and no more: files of pre-training and encoders alike."""

import pytest
import torch
from config_files import CONFIGS, name_of
from mmengine.config import Config
from mmengine.registry import init_default_scope
from tiny import ALL, make_data, tiny

from mim_zoo.conversion import convert
from mim_zoo.engine.runner import ZooRunner
from mim_zoo.registry import MODELS

each = pytest.mark.parametrize('path', [p for p in ALL if 'knn' in p.name], ids=name_of)


@pytest.fixture
def load(tmp_path):
    data_root = make_data(tmp_path / 'data')

    def shrink(path):
        return tiny(Config.fromfile(path), data_root, tmp_path, tmp_path / 'run')

    return shrink


PRETRAINING = {
    'MIMViT': 'mae/mae_vit-base-p16_8xb512-amp-coslr-800e_in1k.py',
    'MixMIMViT': 'mixmim/mixmim_mixmim-base-w14_16xb128-amp-coslr-600e_in1k.py',
}


@pytest.fixture
def pretrained(load):
    """Makes the state dict of a whole model, as pre-training leaves it."""
    init_default_scope('mim_zoo')

    def make(kind='MIMViT'):
        path = CONFIGS / PRETRAINING[kind]
        return MODELS.build(load(path).model).state_dict()

    return make


def official(state):
    """The encoder with the names of the released files, through our conversion."""
    encoder = {
        name.removeprefix('backbone.'): value
        for name, value in state.items()
        if name.startswith('backbone.')
    }
    return convert(encoder).state


def measured(cfg, state, file):
    torch.save({'state_dict': state}, file)
    cfg.load_from = str(file)
    runner = ZooRunner.from_cfg(cfg)
    metrics = runner.test()
    return runner, metrics


@each
@pytest.mark.parametrize('part', ['whole', 'encoder'])
def test_takes_files_with_and_without_a_decoder(path, part, load, pretrained, tmp_path):
    cfg = load(path)
    whole = pretrained(cfg.model.backbone.type)
    state = whole if part == 'whole' else official(whole)
    assert any('decoder' in name for name in state) == (part == 'whole')
    runner, metrics = measured(cfg, state, tmp_path / 'weights.pth')
    assert 0 <= metrics['knn_top1'] <= 1
    loaded = runner.model.state_dict()
    assert loaded
    for name, value in loaded.items():
        assert torch.equal(value.cpu(), whole[name]), name


def test_refuses_the_weights_of_another_encoder(load, pretrained, tmp_path):
    path = next(p for p in ALL if 'vit-base-p16_knn' in p.name)
    few = {k: v for k, v in pretrained().items() if 'blocks.0' in k}
    with pytest.raises(ValueError, match='of its weights loaded'):
        measured(load(path), few, tmp_path / 'weights.pth')
