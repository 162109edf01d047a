"""The learning hooks in a real run: metrics, table, pictures, resume."""

import copy
import json

import pytest
import torch
from mmengine.config import Config
from PIL import Image

from mim_zoo.engine import ZooRunner

CONFIG = 'configs/photos/mae_vit-micro-p4_photos-32px.py'


@pytest.fixture
def cfg(tmp_path, pytestconfig):
    cfg = Config.fromfile(pytestconfig.rootpath / CONFIG)
    cfg.work_dir = str(tmp_path)
    cfg.model.backbone.arch = dict(embed_dim=16, depth=2, num_heads=2)
    cfg.model.head.decoder.update(embed_dim=16, num_heads=2)
    small = dict(pictures=['chelsea', 'coffee'], indices=16)
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        loader.dataset.update(small)
        loader.update(batch_size=8, num_workers=0, persistent_workers=False)
    for hook in cfg.custom_hooks:
        if 'bank' in hook:
            hook.bank.dataset.update(small)
            hook.bank.batch_size = 8
    cfg.train_cfg.update(max_epochs=2, val_interval=1)
    cfg.param_scheduler = []
    cfg.default_hooks.progress = None
    return cfg


def run(cfg):
    runner = ZooRunner.from_cfg(copy.deepcopy(cfg))
    runner.train()
    return runner


def test_run_ends_with_both_results_and_a_picture(cfg, tmp_path):
    cfg.custom_hooks[1].linear = True
    runner = run(cfg)
    summary = json.loads((tmp_path / 'summary.json').read_text())
    for part in ('untrained', 'trained'):
        assert {
            'reconstruction_error',
            'explained_share',
            'knn_top1',
            'linear_top1',
        } <= set(summary[part])
    assert summary['untrained'] != summary['trained']
    assert summary['images_seen'] == 2 * 16
    drawn = sorted(p.name for p in (tmp_path / 'reconstructions').iterdir())
    assert drawn == ['epoch_0.png', 'epoch_1.png', 'epoch_2.png']
    assert Image.open(tmp_path / 'reconstructions' / 'epoch_2.png').width > 4 * 128
    log = next(tmp_path.glob('*/*.log')).read_text()
    assert f'explained_share: {summary["trained"]["explained_share"]:.4f}' in log
    error = summary['trained']['reconstruction_error']
    assert f'reconstruction_error: {error:.4f}' in log
    logged = runner.message_hub.get_scalar('val/explained_share').current()
    assert logged == pytest.approx(summary['trained']['explained_share'])


def test_masks_are_fixed_so_the_same_weights_give_the_same_metrics(cfg, tmp_path):
    cfg.train_cfg.max_epochs = 1
    run(cfg)
    cfg.load_from = str(tmp_path / 'epoch_1.pth')
    results = []
    for batch_size in (8, 5):
        cfg.test_dataloader.batch_size = batch_size
        results.append(ZooRunner.from_cfg(copy.deepcopy(cfg)).test())
    trained = json.loads((tmp_path / 'summary.json').read_text())['trained']
    for key in ('reconstruction_error', 'explained_share', 'knn_top1'):
        assert results[0][key] == pytest.approx(trained[key], rel=1e-5)
        assert results[1][key] == pytest.approx(results[0][key], rel=1e-5)


def test_resumed_run_remembers_the_untrained_model(cfg, tmp_path):
    cfg.train_cfg.max_epochs = 1
    run(cfg)
    before = json.loads((tmp_path / 'summary.json').read_text())
    cfg.train_cfg.max_epochs = 2
    cfg.resume = True
    run(cfg)
    after = json.loads((tmp_path / 'summary.json').read_text())
    assert after['untrained'] == before['untrained']
    assert after['images_seen'] == 16


def test_knn_without_labels_is_refused(cfg, tmp_path):
    folder = tmp_path / 'images'
    folder.mkdir()
    for i in range(4):
        Image.new('RGB', (40, 40), (60 * i, 0, 0)).save(folder / f'{i}.png')
    load = [dict(type='LoadImage'), *cfg.val_dataloader.dataset.pipeline]
    cfg.val_dataloader.dataset = dict(
        type='ImageFolder', data_root=str(folder), test_mode=True, pipeline=load
    )
    with pytest.raises(ValueError, match='no labels'):
        run(cfg)


def test_evaluation_leaves_training_alone(cfg, tmp_path):
    """A run that is evaluated ends with the weights of one that is not."""
    cfg.train_cfg.max_epochs = 1
    evaluated = run(cfg).model.state_dict()
    cfg.work_dir = str(tmp_path / 'plain')
    cfg.custom_hooks = []
    cfg.val_dataloader = cfg.val_cfg = cfg.val_evaluator = None
    plain = run(cfg).model.state_dict()
    assert all(torch.equal(evaluated[key], plain[key]) for key in plain)
