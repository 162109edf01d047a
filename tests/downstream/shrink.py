"""Configs of detectors and segmenters, shrunk to run in seconds on drawn shapes."""

from pathlib import Path
from typing import Any

import torch
from config_files import CONFIGS, DOWNSTREAM, dicts
from mmengine.config import Config

from mim_zoo.datasets.shapes import CLASSES, make_shapes
from mim_zoo.models import MIMViT, MixMIMViT

ALL = sorted(p for folder in DOWNSTREAM for p in (CONFIGS / folder).glob('*.py'))
SIZE, WIDTH = 64, 16
OF_ADE20K = ('wall', 'building', 'sky', 'floor', 'tree')  # as many as shapes
SMALL = {
    'MIMViT': dict(
        arch=dict(embed_dim=WIDTH, depth=4, num_heads=2), img_size=SIZE, with_cp=False
    ),
    'MixMIMViT': dict(img_size=SIZE, windows=None, with_cp=False),
}
TAPS = {'window': 2, 'global_blocks': (1, 3), 'out_indices': (0, 1, 2, 3)}
PIPELINE = {
    'scale': (SIZE, SIZE),
    'scales': [(SIZE, SIZE), (48, 80)],
    'crop_size': (SIZE, SIZE),
}
HEAD = {'feat_channels', 'conv_out_channels', 'channels'}


def stages(count: int, patch: int) -> dict:
    """A MixMIM encoder of so many stages, one block each."""
    heads, ones = (1, 2, 2, 4)[:count], (1,) * count
    return dict(
        embed_dim=8,
        depths=ones,
        num_heads=heads,
        windows=(2,) * count,
        patch_size=patch,
    )


def encoder_file(folder: Path, cfg: Config) -> Path:
    """A file as pre-training leaves it, for the encoder of a shrunk config."""
    backbone = cfg.model.backbone
    arch = backbone.arch.to_dict()
    if backbone.type.endswith('MixMIMViT'):
        encoder = MixMIMViT(arch, 32)
    else:
        encoder = MIMViT(arch, 32, backbone.get('patch_size', 16))
    state = {f'backbone.{k}': v for k, v in encoder.state_dict().items()}
    path = folder / 'pretrained.pth'
    torch.save({'state_dict': state}, path)
    return path


def shrink(cfg: Config, data: Path, folder: Path) -> Config:
    """A small model on the shapes in ``data``, for a few iterations, in ``folder``."""
    _shrink_encoder(cfg.model.backbone)
    _shrink_model(cfg.model)
    if cfg.model.backbone.get('init_cfg'):
        cfg.model.backbone.init_cfg.checkpoint = str(encoder_file(folder, cfg))
    for split in ('train', 'val', 'test'):
        _shrink_loader(cfg[f'{split}_dataloader'], data, split)
    for evaluator in (cfg.val_evaluator, cfg.test_evaluator):
        if evaluator.get('ann_file'):
            evaluator.ann_file = str(data / 'val.json')
    _shorten(cfg)
    cfg.work_dir, cfg.data_root = str(folder / 'run'), str(data)
    return cfg


def _shrink_encoder(backbone: Any) -> None:
    kind = backbone.type.split('.')[-1]
    backbone.pop('arch')  # its keys would stay beside those of another one
    if kind == 'MixMIMViT':
        backbone.arch = stages(len(backbone.out_indices), patch=4)
    backbone.update(SMALL[kind])
    if kind == 'MIMViT':
        backbone.update({k: v for k, v in TAPS.items() if backbone.get(k)})


def _shrink_model(model: Any) -> None:
    kind = model.backbone.type.split('.')[-1]
    widths = [8 * 2**i for i in range(len(model.backbone.get('out_indices', ())))]
    maps = [WIDTH] * 4 if kind == 'MIMViT' else widths
    model.data_preprocessor.update(
        {'pad_size_divisor': SIZE} if 'roi_head' in model else {'size': (SIZE, SIZE)}
    )
    for node in dicts(model):
        node.update(dict.fromkeys(HEAD & node.keys(), WIDTH))
        node.update(dict.fromkeys({'num_classes'} & node.keys(), len(CLASSES)))
        if 'fc_out_channels' in node:
            node['fc_out_channels'] = 32
        if node.get('type') == 'mim_zoo.TapNorm':
            node['channels'] = (*widths[:-1], None)
        elif isinstance(node.get('in_channels'), int):
            node['in_channels'] = WIDTH
        if node.get('out_channels'):
            node['out_channels'] = WIDTH
        if isinstance(node.get('in_channels'), list):
            node['in_channels'] = maps
    if model.get('auxiliary_head'):
        model.auxiliary_head.in_channels = maps[model.auxiliary_head.in_index]
    if model.get('test_cfg', {}).get('mode') == 'slide':
        model.test_cfg.update(crop_size=(SIZE, SIZE), stride=(40, 40))


def _shrink_loader(loader: Any, data: Path, split: str) -> None:
    loader.update(batch_size=2, num_workers=0, persistent_workers=False)
    part, dataset = ('train' if split == 'train' else 'val'), loader.dataset
    classes = OF_ADE20K if dataset.type == 'ADE20KDataset' else CLASSES
    dataset.update(data_root=str(data), metainfo=dict(classes=classes))
    if dataset.type == 'CocoDataset':
        dataset.ann_file = f'{part}.json'
        dataset.data_prefix = dict(img=f'images/{part}/')
    else:
        dataset.data_prefix = dict(
            img_path=f'images/{part}', seg_map_path=f'annotations/{part}'
        )
        dataset.update(reduce_zero_label=True)  # shapes on a background of no class
    for node in dicts(dataset.pipeline):
        if node.get('type') == 'LoadAnnotations' and dataset.type != 'CocoDataset':
            node['reduce_zero_label'] = True
        node.update({k: v for k, v in PIPELINE.items() if k in node})
        if node.get('crop_type') == 'absolute_range':
            node['crop_size'] = (32, 48)


def _shorten(cfg: Config) -> None:
    iterations = 'max_iters' in cfg.train_cfg
    length = dict(max_iters=4) if iterations else dict(max_epochs=2)
    cfg.train_cfg.update(**length, val_interval=2)
    cfg.default_hooks.checkpoint.interval = 2 if iterations else 1
    cfg.default_hooks.logger.interval = 1
    warm_up, rest = cfg.param_scheduler
    warm_up.end = 1
    if iterations:
        rest.update(begin=1, end=4)
    else:
        rest.milestones = [1]


def draw(folder: Path) -> Path:
    """Four images to train on, two to test."""
    make_shapes(folder, train=4, val=2, size=(72, 64), seed=1)
    return folder
