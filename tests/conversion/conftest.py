"""Tiny models as their official codes name them, with random weights."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import torch
from safetensors.torch import load_file

DATA = Path(__file__).parents[1] / 'data'
TOOL = Path(__file__).parents[2] / 'tools' / 'convert_checkpoint.py'


@pytest.fixture(scope='session')
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location('convert_checkpoint', TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def golden(name: str, prefix: str = 'state.') -> dict[str, torch.Tensor]:
    """The state dict of a model of the official code."""
    state = load_file(DATA / f'{name}.safetensors')
    return {k[len(prefix) :]: v for k, v in state.items() if k.startswith(prefix)}


@pytest.fixture(scope='session')
def mae() -> dict[str, torch.Tensor]:
    """Encoder and decoder; width 48, 4 heads."""
    return golden('mae_tiny_normpix')


@pytest.fixture(scope='session')
def mff() -> dict[str, torch.Tensor]:
    """OpenMMLab's, with the fusion of blocks 0, 2 and 5."""
    return golden('mff_tiny')


@pytest.fixture(scope='session')
def mixmim() -> dict[str, torch.Tensor]:
    """Encoder and decoder."""
    return golden('mixmim_tiny')


@pytest.fixture(scope='session')
def deepmim() -> dict[str, torch.Tensor]:
    """Encoder and four decoders, for features of 512 channels; width 48, 12 blocks."""
    return golden('deepmim_clip_tiny')


@pytest.fixture(scope='session')
def dbot() -> dict[str, torch.Tensor]:
    """Student: encoder and decoder; width 48, 4 heads."""
    return golden('dbot_tiny', 'student.')


@pytest.fixture(scope='session')
def dbot_teacher() -> dict[str, torch.Tensor]:
    """Encoder alone."""
    return golden('dbot_tiny', 'teacher.')


@pytest.fixture(scope='session')
def mixmim_encoder(mixmim) -> dict[str, torch.Tensor]:
    return {
        k: v for k, v in mixmim.items() if not k.startswith(('decoder', 'mask_token'))
    }


@pytest.fixture(scope='session')
def mixmim_tuned(mixmim_encoder) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(5, 128, generator=generator)
    return {**mixmim_encoder, 'head.weight': weight, 'head.bias': weight[:, 0].clone()}


@pytest.fixture(scope='session')
def encoder(mae) -> dict[str, torch.Tensor]:
    """As released: no decoder. timm's names are the same."""
    return {k: v for k, v in mae.items() if not k.startswith(('decoder', 'mask_token'))}


@pytest.fixture(scope='session')
def fine_tuned(encoder) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    state = {k: v for k, v in encoder.items() if not k.startswith('norm.')}
    for name, shape in {
        'fc_norm.weight': (48,),
        'fc_norm.bias': (48,),
        'head.weight': (5, 48),
        'head.bias': (5,),
    }.items():
        state[name] = torch.randn(shape, generator=generator)
    return state


@pytest.fixture(scope='session')
def probe(encoder) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        **encoder,
        'head.0.running_mean': torch.randn(48, generator=generator),
        'head.0.running_var': torch.rand(48, generator=generator) + 0.5,
        'head.0.num_batches_tracked': torch.tensor(7),
        'head.1.weight': torch.randn(5, 48, generator=generator),
        'head.1.bias': torch.randn(5, generator=generator),
    }
