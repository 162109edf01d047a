"""Runs that cannot be meant end before they begin; pictures by iterations."""

import pytest
from photos_run import run, small_cfg

from mim_zoo.options import parse_options


@pytest.fixture
def cfg(tmp_path):
    return small_cfg(tmp_path)


def test_a_warm_up_longer_than_the_run_is_named(cfg):
    cfg.param_scheduler = [
        dict(type='LinearLR', start_factor=0.1, end=2, convert_to_iter_based=True),
        dict(type='CosineAnnealingLR', begin=2, convert_to_iter_based=True),
    ]
    with pytest.raises(ValueError, match='after epoch 2, but the run has 2') as caught:
        run(cfg)
    words = str(caught.value).split('--cfg-options ')[1].split()
    cfg.merge_from_dict(parse_options(words))
    assert run(cfg).epoch == 2


def test_a_warm_up_in_iterations_is_named_too(cfg):
    cfg.param_scheduler = [
        dict(type='LinearLR', start_factor=0.1, end=9, by_epoch=False),
        dict(type='CosineAnnealingLR', begin=9, by_epoch=False, eta_min=0.0),
    ]
    late = 'begins after iteration 9, but the run has 4 iterations: .*end=1 '
    with pytest.raises(ValueError, match=late):
        run(cfg)
    cfg.param_scheduler[1].end = 18  # a trial of a schedule that has an end of its own
    assert run(cfg).iter == 4


def test_one_iteration_has_no_room_for_a_warm_up(cfg):
    cfg.train_cfg = dict(type='IterBasedTrainLoop', max_iters=1, val_interval=1)
    cfg.param_scheduler = [
        dict(type='LinearLR', start_factor=0.1, end=9, by_epoch=False),
        dict(type='CosineAnnealingLR', begin=9, by_epoch=False),
    ]
    with pytest.raises(ValueError, match='no room for a warm-up; train longer'):
        run(cfg)


def test_a_run_does_not_go_on_at_a_rate_of_0(cfg):
    cfg.param_scheduler = dict(type='PolyLR', end=2, by_epoch=False)
    with pytest.raises(ValueError, match=r'iteration 2, but the run has 4:') as caught:
        run(cfg)
    words = str(caught.value).split('--cfg-options ')[1].split()
    cfg.merge_from_dict(parse_options(words))
    assert run(cfg).iter == 4
    cfg.param_scheduler = [
        dict(type='PolyLR', end=2, by_epoch=False, eta_min=1e-5),
        dict(type='CosineAnnealingLR', begin=0, end=1, eta_min_ratio=0.1),
    ]
    assert run(cfg).iter == 4


def test_an_encoder_that_stays_random_in_part_is_refused(cfg, tmp_path):
    cfg.train_cfg.max_epochs = 1
    cfg.model.backbone.arch = dict(embed_dim=96, depth=3, num_heads=2)
    run(cfg)
    cfg.load_from = str(tmp_path / 'epoch_1.pth')
    cfg.model.backbone.patch_size = 8
    with pytest.raises(ValueError, match=r'epoch_1.pth: got weights of another shape'):
        run(cfg)


def test_pictures_of_a_run_by_iterations_are_numbered_so(cfg, tmp_path):
    cfg.train_cfg = dict(type='IterBasedTrainLoop', max_iters=4, val_interval=2)
    cfg.default_hooks.checkpoint.by_epoch = False
    run(cfg)
    drawn = sorted(p.name for p in (tmp_path / 'reconstructions').iterdir())
    assert drawn == ['iter_0.png', 'iter_2.png', 'iter_4.png']
