"""A small run of pre-training with all that tells whether it learns."""

import copy
from pathlib import Path

from mmengine.config import Config

from mim_zoo.engine import ZooRunner

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / 'configs/photos/mae_vit-micro-p4_photos-32px.py'


def small_cfg(folder):
    """Two epochs of two batches, evaluated after each."""
    cfg = Config.fromfile(CONFIG)
    cfg.work_dir = str(folder)
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
