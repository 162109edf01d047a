"""The recipe of SimMIM (2111.09886), as the official ViT-B configuration has it."""

import math

import pytest
import torch
from config_files import CONFIGS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from tiny import make_data, tiny

from mim_zoo.engine.runner import ZooRunner
from mim_zoo.registry import MODELS

NAME = 'simmim_vit-base-p16_16xb128-amp-step-800e_in1k'


@pytest.fixture(scope='module')
def cfg():
    return Config.fromfile(CONFIGS / f'simmim/{NAME}.py')


def test_squares_of_two_by_two_patches_are_hidden(cfg):
    init_default_scope('mim_zoo')
    with torch.device('meta'):
        model = MODELS.build(cfg.model)
    mask = model.data_preprocessor.masking.sample(torch.arange(4), (14, 14))
    assert mask.sum(1).tolist() == [4 * math.ceil(0.6 * 49)] * 4
    squares = mask.view(4, 7, 2, 7, 2)
    assert torch.equal(squares.all(4).all(2), squares.any(4).any(2))


def test_the_rate_is_the_official_one(cfg, tmp_path):
    small = tiny(cfg.copy(), make_data(tmp_path / 'data'), tmp_path, tmp_path / 'run')
    runner = ZooRunner.from_cfg(small)
    runner._train_loop = runner.build_train_loop(runner._train_loop)
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    schedulers = runner.build_param_scheduler(runner.param_schedulers)
    groups = runner.optim_wrapper.optimizer.param_groups
    length = len(runner.train_dataloader)

    rates = []
    for _ in range(800 * length):
        rates.append(groups[0]['lr'])
        for scheduler in schedulers:
            scheduler.step()
    assert rates[0] == pytest.approx(5e-7 * 2048 / 512)
    assert rates[10 * length : 700 * length] == pytest.approx([4e-4] * 690 * length)
    assert rates[700 * length :] == pytest.approx([4e-5] * 100 * length)

    free = [p for g in groups if g.get('weight_decay') == 0 for p in g['params']]
    model = runner.model
    assert any(p is model.backbone.cls_token for p in free)
    assert not any(p is model.corruption.token for p in free)  # as officially
