import pytest
from config_files import CONFIGS
from mmengine.config import Config
from tiny import make_data

from mim_zoo.engine.data_root import fill_data_root
from mim_zoo.engine.runner import ZooRunner

CIFAR = CONFIGS / 'cifar10/mae_vit-tiny-p4_1xb512-amp-coslr-400e_cifar10.py'


def roots(part):
    """Every data_root below."""
    if isinstance(part, dict):
        found = [part['data_root']] if 'data_root' in part else []
        return found + [r for value in part.values() for r in roots(value)]
    return [r for value in part for r in roots(value)] if type(part) is list else []


def test_one_value_reaches_every_data_set():
    cfg = Config.fromfile(CIFAR)
    cfg.merge_from_dict({'data_root': '/elsewhere/'})
    parts = [cfg.train_dataloader, cfg.val_dataloader, cfg.custom_hooks]
    found = [root for part in parts for root in roots(fill_data_root(part, cfg))]
    assert len(found) == 3
    assert set(found) == {'/elsewhere/train', '/elsewhere/test'}


def test_the_config_keeps_the_place():
    cfg = Config.fromfile(CIFAR)
    before = cfg.pretty_text
    fill_data_root(cfg.train_dataloader, cfg)
    assert cfg.pretty_text == before


def test_a_data_set_s_own_path_wins():
    cfg = Config.fromfile(CIFAR)
    cfg.merge_from_dict({'train_dataloader.dataset.data_root': 'my/images'})
    filled = fill_data_root(cfg.train_dataloader, cfg)
    assert filled.dataset.data_root == 'my/images'


def test_the_runner_opens_the_new_place_also_from_its_dumped_config(tmp_path):
    data_root = make_data(tmp_path / 'data')
    cfg = Config.fromfile(CIFAR)
    cfg.merge_from_dict({'data_root': str(tmp_path / 'wrong')})
    cfg.work_dir = str(tmp_path / 'run')
    ZooRunner.from_cfg(cfg)
    dumped = Config.fromfile(tmp_path / 'run' / CIFAR.name)
    dumped.merge_from_dict({'data_root': str(data_root)})
    dumped.work_dir = str(tmp_path / 'again')
    dumped.train_dataloader.batch_size = 4
    runner = ZooRunner.from_cfg(dumped)
    assert len(runner.build_dataloader(dumped.train_dataloader).dataset) == 8
    with pytest.raises(ValueError, match='wrong'):
        ZooRunner.from_cfg(cfg).build_dataloader(cfg.train_dataloader)


def test_errors_instead_of_a_value_ignored():
    photos = Config.fromfile(next((CONFIGS / 'photos').glob('*.py')))
    fill_data_root(photos.train_dataloader, photos)
    photos.data_root = '/my/images'
    with pytest.raises(ValueError, match='would be ignored'):
        fill_data_root(photos.train_dataloader, photos)
    cfg = Config.fromfile(CIFAR)
    del cfg._cfg_dict['data_root']
    with pytest.raises(ValueError, match='top-level data_root'):
        fill_data_root(cfg.train_dataloader, cfg)
