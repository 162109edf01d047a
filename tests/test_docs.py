"""The blocks of docs/compose.md run, and what they build trains."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from mim_zoo.datasets.masking import MixedMasking
from mim_zoo.registry import MODELS

PAGE = Path(__file__).parents[1] / 'docs' / 'compose.md'


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
        | dict(head_norm=None)
    )
    assert model(torch.randn(2, 3, 32, 32)).shape == (2, 3)


def test_links_exist() -> None:
    for link in re.findall(r'\]\(([^)#:]+)\)', PAGE.read_text()):
        assert (PAGE.parent / link).exists(), link
