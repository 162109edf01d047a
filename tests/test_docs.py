"""The blocks of docs/compose.md and docs/shards.md run, what they build trains."""

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from PIL import Image

from mim_zoo.datasets.masking import MixedMasking
from mim_zoo.options import checked_options
from mim_zoo.registry import DATA_SAMPLERS, DATASETS, MODELS

ROOT = Path(__file__).parents[1]
PAGE, SHARDS = ROOT / 'docs' / 'compose.md', ROOT / 'docs' / 'shards.md'
SCALE = ROOT / 'docs' / 'scale.md'


@pytest.fixture(scope='module')
def page() -> dict[str, Any]:
    """What the page's blocks define, run one after the other."""
    names: dict[str, Any] = {}
    blocks = re.findall(r'```python\n(.*?)```', PAGE.read_text(), re.S)
    assert len(blocks) == 5
    for block in blocks:
        exec(block, names)
    yield names
    for new in ('MeanColourTarget', 'ConvDecoder', 'NoisePatches', 'MixerEncoder'):
        MODELS.module_dict.pop(new)


def gradients_of(cfg: dict | torch.nn.Module) -> None:
    model = cfg if isinstance(cfg, torch.nn.Module) else MODELS.build(cfg)
    mask = MixedMasking(0.5).sample(torch.tensor([1, 2]), (4, 4))
    losses = model.loss(torch.randn(2, 3, 32, 32), mask, 8)
    sum(v for k, v in losses.items() if 'loss' in k).backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name


def test_every_method_of_the_table_trains(page: dict[str, Any]) -> None:
    assert len(page['models']) >= 10
    for model in page['models'].values():
        gradients_of(model)


NEW: dict[str, dict] = {
    'target': dict(target=dict(type='MeanColourTarget')),
    'decoder': dict(decoder=dict(type='ConvDecoder')),
    'corruption': dict(corruption=dict(type='NoisePatches')),
    'encoder': dict(
        backbone=dict(type='MixerEncoder'), corruption=dict(type='MaskPatches')
    ),
}


@pytest.mark.parametrize('parts', NEW.values(), ids=NEW)
def test_new_parts_train(page: dict[str, Any], parts: dict) -> None:
    gradients_of(page['method'](**parts))


def test_a_new_encoder_is_one_downstream_too(page: dict[str, Any]) -> None:
    encoder = page['MixerEncoder']()
    assert encoder(torch.randn(2, 3, 32, 32))[0].shape == (2, 32, 4, 4)
    model = MODELS.build(
        dict(type='Classifier', backbone=dict(type='MixerEncoder'), num_classes=3)
    )
    assert isinstance(model.backbone.norm, torch.nn.Identity)
    assert model(torch.randn(2, 3, 32, 32)).shape == (2, 3)


def blocks_of_shards(kind: str, tmp_path: Path) -> list[str]:
    """The blocks of docs/shards.md, with their folders in ``tmp_path``."""
    text = SHARDS.read_text().replace('/data/', f'{tmp_path}/')
    return re.findall(rf'```{kind}\n(.*?)```', text, re.S)


def test_images_are_packed_and_drawn_as_the_page_says(tmp_path: Path) -> None:
    for name in 'abc':
        path = tmp_path / 'images' / 'train' / name / '0.png'
        path.parent.mkdir(parents=True)
        Image.new('RGB', (8, 8)).save(path)
    pack, train = blocks_of_shards('bash', tmp_path)
    subprocess.run([sys.executable, *shlex.split(pack)[1:]], cwd=ROOT, check=True)
    base, *options = shlex.split(train)[2:]
    assert options.pop(0) == '--cfg-options'
    given = dict(option.split('=') for option in options)
    cfg = Config.fromfile(ROOT / base)
    cfg.merge_from_dict(checked_options(cfg, given))
    (block,) = blocks_of_shards('python', tmp_path)
    heir = tmp_path / 'heir.py'
    heir.write_text(f"_base_ = '{ROOT / base}'\ndata_root = '/nowhere'\n{block}")
    for loader in (cfg.train_dataloader, Config.fromfile(heir).train_dataloader):
        data = DATASETS.build(loader.dataset)
        sampler = DATA_SAMPLERS.build({**loader.sampler, 'dataset': data, 'seed': 0})
        assert type(sampler).__name__ == 'ShardSampler'
        assert sampler.shards_at_once == 16
        paths = sorted(data[draw]['img_path'] for draw in sampler)
        assert paths == [f'{tmp_path}/shards/train/{name}/0.png' for name in 'abc']


@pytest.mark.parametrize('page', [PAGE, SHARDS, SCALE], ids=lambda page: page.name)
def test_links_exist(page: Path) -> None:
    for link in re.findall(r'\]\(([^)#:]+)\)', page.read_text()):
        assert (page.parent / link).exists(), link
