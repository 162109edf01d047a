"""kNN needs an encoder and no more: files of pre-training and encoders alike."""

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from tiny import ALL, CONFIGS, make_data, name_of, tiny

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


@pytest.fixture
def mae(load):
    """State dict of a whole MAE, as pre-training leaves it."""
    init_default_scope('mim_zoo')
    path = CONFIGS / 'mae/mae_vit-base-p16_8xb512-amp-coslr-800e_in1k.py'
    return MODELS.build(load(path).model).state_dict()


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
def test_takes_files_with_and_without_a_decoder(path, part, load, mae, tmp_path):
    state = mae if part == 'whole' else official(mae)
    assert any('decoder' in name for name in state) == (part == 'whole')
    runner, metrics = measured(load(path), state, tmp_path / 'weights.pth')
    assert 0 <= metrics['knn_top1'] <= 1
    loaded = runner.model.state_dict()
    assert loaded
    for name, value in loaded.items():
        assert torch.equal(value.cpu(), mae[name]), name


def test_refuses_the_weights_of_another_encoder(load, mae, tmp_path):
    path = next(p for p in ALL if 'knn' in p.name)
    few = {k: v for k, v in mae.items() if 'blocks.0' in k}
    with pytest.raises(ValueError, match='of its weights loaded'):
        measured(load(path), few, tmp_path / 'weights.pth')
