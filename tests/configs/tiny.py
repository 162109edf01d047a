"""Any config of the project, shrunk to run in a second."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from config_files import CONFIGS, DOWNSTREAM, dicts
from mmengine.config import Config
from mmengine.hooks import Hook
from PIL import Image

from mim_zoo.cli import load_config, make_parser
from mim_zoo.registry import MODELS

LEAVES = sorted(p for p in CONFIGS.rglob('*.py') if '_base_' not in p.parts)
ALL = [p for p in LEAVES if p.parent.name not in DOWNSTREAM]
if not (find_spec('mmdet') and find_spec('mmseg')):
    LEAVES = ALL
IMAGE, PATCH = 16, 4
CROPS = ('RandomResizedCrop', 'SimpleResizedCrop', 'CenterCrop', 'Resize')
ENCODERS: dict[str, dict] = {  # two blocks each, predictions on 4 x 4 cells
    'MIMViT': dict(
        arch=dict(embed_dim=16, depth=2, num_heads=2), img_size=IMAGE, patch_size=PATCH
    ),
    'MixMIMViT': dict(
        arch=dict(
            embed_dim=8, depths=(1, 1), num_heads=(1, 2), windows=(2, 2), patch_size=2
        ),
        img_size=IMAGE,
    ),
}


class OneEpoch(Hook):
    """Ends training after one short epoch, the schedule still the real one."""

    def __init__(self):
        self.losses: list[float] = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.losses.append(float(outputs['loss']))

    def after_train_epoch(self, runner):
        runner.train_loop.stop_training = True


def with_options(config: Path, words: list[str]) -> Config:
    """The config after ``--cfg-options``, as the tools read and check them."""
    options = ['--cfg-options', *words] if words else []
    return load_config(make_parser('').parse_args([str(config), *options]))


def make_data(root: Path) -> Path:
    """A folder as ImageNet's and CIFAR-10's: 8 noisy images in 2 classes a split."""
    rng = np.random.default_rng(0)
    for split in ('train', 'val', 'test'):
        for i in range(8):
            folder = root / split / f'class{i % 2}'
            folder.mkdir(parents=True, exist_ok=True)
            noise = rng.integers(0, 255, (24, 28, 3), dtype=np.uint8)
            Image.fromarray(noise).save(folder / f'{i}.png')
    (root / 'meta').mkdir()
    listed = [f'class{i % 2}/{i}.png' for i in range(8)]
    for percent in (1, 10):
        (root / 'meta' / f'train_{percent}percent.txt').write_text('\n'.join(listed))
    return root


DECODER = dict(embed_dim=16, depth=1, num_heads=2)
GENERATOR = 'generator'  # an MAE's file, for hybrid targets


def pretrained(folder: Path) -> Path:
    """A folder with a file of each encoder like those that pre-training leaves."""
    mae = dict(
        type='MAE',
        backbone=dict(type='MIMViT', **ENCODERS['MIMViT']),
        corruption=dict(type='DropPatches'),
        head=dict(
            type='MIMHead',
            target=dict(type='PixelTarget'),
            decoder=dict(type='TransformerDecoder', **DECODER),
            loss=dict(type='MaskedMSE'),
        ),
    )
    state = MODELS.build(mae).state_dict()
    torch.save({'state_dict': state}, folder / f'{GENERATOR}.pth')
    for kind, small in ENCODERS.items():
        weights = MODELS.build(dict(type=kind, **small)).state_dict()
        state = {f'backbone.{k}': v for k, v in weights.items()}
        torch.save({'state_dict': state}, folder / f'{kind}.pth')
    return folder


def of_two_blocks(outputs: list[list[int]]) -> list[list[int]]:
    """As many outputs, fused where they were."""
    *shallow, last = [[0, 1] if len(output) > 1 else [0] for output in outputs]
    return [*shallow, last if len(last) > 1 else [1]]


def tiny(cfg: Config, data_root: Path, weights: Path, work_dir: Path) -> Config:
    """Shrink a config in place: small model, images and data, its schedule kept.

    ``weights`` is what ``pretrained`` made.
    """
    for node in dicts(cfg._cfg_dict):
        kind = node.get('type')
        if kind in ENCODERS:
            node.update(ENCODERS[kind])
            node.pop('windows', None)
            if node.get('init_cfg'):
                node['init_cfg']['checkpoint'] = str(weights / f'{kind}.pth')
        elif kind == 'LevelFusion':
            node['outputs'] = of_two_blocks(node['outputs'])
        elif kind == 'TransformerDecoder':
            node.update(DECODER)
        elif kind == 'TeacherTarget':
            small = dict(layers=[0, 1], size=IMAGE)
            node.update({key: small[key] for key in small.keys() & node.keys()})
        elif kind == 'TimmTeacher':
            node.update(model='test_vit', pretrained=False)
        elif kind == 'EncoderTeacher':
            node['checkpoint'] = str(weights / f'{node["encoder"]["type"]}.pth')
        elif kind == 'HybridTarget':
            node['checkpoint'] = str(weights / f'{GENERATOR}.pth')
        elif kind in CROPS:
            node['size'] = (IMAGE, IMAGE)
        elif kind == 'SamplePhotos':
            node.update(pictures=['rocket', 'coffee'], indices=8)
        elif kind == 'Digits':
            node['indices'] = 8
        elif kind == 'HeldOutSplit':
            alone = node['dataset'].get('data_root') == '{data_root}/train'
            only_trained = alone and node['split'] == 'train'  # all of the 8 images
            node['share'] = 1e-4 if only_trained else 0.4
        elif node.get('by_epoch') is False:
            node.update({key: 1 for key in ('begin', 'end') if node.get(key)})
        if 'batch_size' in node:
            node.update(batch_size=4, num_workers=0)
            node.update(persistent_workers=False, pin_memory=False)
    if 'data_root' in cfg:
        cfg.data_root = str(data_root)
    if 'train_cfg' in cfg:  # else for tools/test.py only
        cfg.train_cfg.val_interval = 1
    cfg.work_dir = str(work_dir)
    cfg.experiment_name = work_dir.name
    return cfg
