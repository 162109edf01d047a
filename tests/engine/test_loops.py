"""Batches that are empty, and loaders that give none."""

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from PIL import Image

from mim_zoo.engine import TestLoop, ValLoop, ZooRunner
from mim_zoo.registry import HOOKS


@HOOKS.register_module(force=True)
class SeenBatches(Hook):
    """Keeps how many images each evaluated batch had."""

    def __init__(self):
        self.seen = []

    def _after_iter(self, runner, batch_idx, data_batch=None, outputs=None, mode=''):
        if mode != 'train':
            self.seen.append((len(data_batch['inputs']), len(outputs)))


@pytest.fixture
def cfg(tmp_path):
    """Two evaluation batches of two images; then one of a corrupt file."""
    folder = tmp_path / 'images'
    folder.mkdir()
    for i in range(4):
        pixels = torch.randint(0, 255, (8, 8, 3), dtype=torch.uint8)
        Image.fromarray(pixels.numpy()).save(folder / f'{i}.png')
    (folder / '9.png').write_bytes(b'no image')
    loader = dict(
        batch_size=2,
        num_workers=0,
        dataset=dict(
            type='ImageFolder',
            data_root='{data_root}',
            max_unreadable=1.0,
            test_mode=True,
            pipeline=[dict(type='LoadImage'), dict(type='PackInputs')],
        ),
        sampler=dict(type='EpochSampler', shuffle=False, round_up=False),
        collate_fn=dict(type='collate_readable'),
    )
    arch = dict(embed_dim=16, depth=1, num_heads=2)
    decoder = dict(type='TransformerDecoder', embed_dim=16, depth=1, num_heads=2)
    return Config(
        dict(
            default_scope='mim_zoo',
            data_root=str(folder),
            experiment_name=tmp_path.name,
            work_dir=str(tmp_path / 'run'),
            model=dict(
                type='MAE',
                backbone=dict(type='MIMViT', arch=arch, img_size=8, patch_size=4),
                corruption=dict(type='DropPatches'),
                head=dict(
                    type='MIMHead',
                    target=dict(type='PixelTarget'),
                    decoder=decoder,
                    loss=dict(type='MaskedMSE'),
                ),
                data_preprocessor=dict(
                    type='MIMDataPreprocessor',
                    batch_transforms=[dict(type='RandomMasking', ratio=0.5)],
                ),
            ),
            val_dataloader=loader,
            val_cfg=dict(),
            val_evaluator=[],
            test_dataloader=loader,
            test_cfg=dict(),
            test_evaluator=[],
            custom_hooks=[
                dict(type='SeenBatches'),
                dict(type='ExplainedShareHook'),
                dict(type='UnreadableFilesHook'),
            ],
            visualizer=dict(type='Visualizer', vis_backends=[]),
        )
    )


def seen(runner):
    return next(h.seen for h in runner.hooks if isinstance(h, SeenBatches))


@pytest.mark.parametrize('named', [False, True])
@pytest.mark.parametrize('mode', ['val', 'test'])
def test_an_unreadable_batch_is_skipped(cfg, mode, named):
    if named:
        cfg[f'{mode}_cfg'] = dict(type={'val': 'ValLoop', 'test': 'TestLoop'}[mode])
    runner = ZooRunner.from_cfg(cfg)
    metrics = getattr(runner, mode)()
    assert metrics['reconstruction_error'] > 0
    assert len(getattr(runner, f'{mode}_dataloader')) == 3
    assert seen(runner) == [(2, 2), (2, 2)]
    loop = getattr(runner, f'{mode}_loop')
    assert type(loop) is {'val': ValLoop, 'test': TestLoop}[mode]


def test_a_loop_of_the_users_own_is_built(cfg):
    cfg.val_cfg = dict(type='mmengine.ValLoop')
    runner = ZooRunner.from_cfg(cfg)
    loop = runner.build_val_loop(cfg.val_cfg)
    assert not isinstance(loop, ValLoop)
    assert runner.build_val_loop(loop) is loop


def test_fewer_images_than_a_batch(cfg):
    runner = ZooRunner.from_cfg(cfg)
    loader = dict(cfg.val_dataloader, batch_size=8)
    assert len(runner.build_dataloader(loader)) == 1
    with pytest.raises(ValueError, match=r'5 images .*batch_size=8 .*at most 5'):
        runner.build_dataloader(dict(loader, drop_last=True))


def test_data_root_that_is_none(cfg):
    runner = ZooRunner.from_cfg(cfg)
    runner.cfg.data_root = None
    with pytest.raises(ValueError, match=r'--cfg-options data_root=/path'):
        runner.build_dataloader(cfg.val_dataloader)
