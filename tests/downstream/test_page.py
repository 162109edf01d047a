"""The blocks of docs/downstream.md run."""

import re
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

from mim_zoo import cli
from mim_zoo.engine import LayerDecayConstructor

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / 'docs' / 'downstream.md').read_text()
BLOCKS = re.findall(r'```python\n(.*?)```', PAGE, re.S)


def config(block: str, folder: Path, data: Path) -> Config:
    text = block.replace("'configs/", f"'{ROOT}/configs/").replace(
        'data/shapes', str(data)
    )
    path = folder / 'mine.py'
    path.write_text(text)
    cfg = Config.fromfile(path)
    cfg.work_dir = str(folder / 'run')
    cfg.model.backbone.init_cfg = None
    for split in ('train', 'val', 'test'):
        loader = cfg[f'{split}_dataloader']
        loader.update(batch_size=2, num_workers=0, persistent_workers=False)
    return cfg


@pytest.mark.parametrize('blocks', [BLOCKS[:1], BLOCKS[1:2], BLOCKS[1:3]])
def test_your_own_data(blocks: list[str], data: Path, tmp_path: Path) -> None:
    assert all(len(block.splitlines()) <= 11 for block in blocks)
    cfg = config('\n'.join(blocks), tmp_path, data)
    iterations = 'max_iters' in cfg.train_cfg
    length = 'max_iters' if iterations else 'max_epochs'
    cfg.train_cfg.update({length: 2, 'val_interval': 2})
    cfg.param_scheduler = []
    runner = cli.build_runner(cfg)
    runner.train()
    dataset = runner.train_dataloader.dataset
    assert 'star' in dataset.metainfo['classes']
    assert len(dataset) == 4
    if len(blocks) > 1:  # sizes as they are
        sample = runner.val_dataloader.dataset[0]
        assert sample['inputs'].shape[1:] == sample['data_samples'].ori_shape
    head = runner.model.decode_head if iterations else runner.model.roi_head.bbox_head
    assert head.num_classes == len(dataset.metainfo['classes'])


def test_a_config_elsewhere(tmp_path: Path) -> None:
    path = tmp_path / 'elsewhere.py'
    path.write_text(BLOCKS[3])
    cfg = Config.fromfile(path)
    cfg.backbone.init_cfg = None
    init_default_scope('mmseg')
    encoder = MODELS.build(cfg.backbone)
    model = torch.nn.Module()
    model.backbone = encoder
    wrapper = LayerDecayConstructor(
        dict(optimizer=cfg.optim_wrapper.optimizer), cfg.optim_wrapper.paramwise_cfg
    )(model)
    assert len({group['lr'] for group in wrapper.optimizer.param_groups}) == 13
    assert encoder.pos_embed.requires_grad
    assert cfg.optim_wrapper.constructor == 'mim_zoo.LayerDecayConstructor'


def test_a_plain_module() -> None:
    names: dict = {}
    exec(BLOCKS[4], names)
    assert [tuple(x.shape) for x in names['maps']] == [(1, 96, 13, 19)] * 4
    assert [x.shape[2:] for x in names['levels']] == [(32, 48), (16, 24)]


def test_links_exist() -> None:
    for link in re.findall(r'\]\(([^)#:]+)\)', PAGE):
        assert (ROOT / 'docs' / link).exists(), link
