"""Mixed precision: the fall-back without an accelerator, and the step on one."""

import pytest
import torch
from mmengine.logging import MMLogger
from torch import nn

from mim_zoo.engine import amp
from mim_zoo.engine.amp import AmpOptimWrapper

on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')


def make(dtype: str = 'bfloat16', device: str = 'cpu', **options):
    torch.manual_seed(0)
    model = nn.Linear(4, 4, device=device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return model, AmpOptimWrapper(optimizer, dtype=dtype, **options)


def step(model: nn.Module, wrapper: AmpOptimWrapper) -> torch.dtype:
    """One update on fixed data; returns the dtype of the forward pass."""
    inputs = torch.linspace(-1, 1, 8, device=next(model.parameters()).device)
    with wrapper.optim_context(model):
        out = model(inputs.view(2, 4))
        wrapper.update_params(out.float().square().mean())
    return out.dtype


@pytest.fixture
def no_accelerator(monkeypatch) -> None:
    monkeypatch.setattr(amp, 'get_device', lambda: 'cpu')


@pytest.fixture
def messages(monkeypatch) -> list[str]:
    """What the current logger warns about."""
    found: list[str] = []
    logger = MMLogger.get_current_instance()
    monkeypatch.setattr(logger, 'log', lambda level, msg: found.append(msg))
    return found


@pytest.mark.parametrize('dtype', ['bfloat16', 'float16'])
def test_without_accelerator_it_is_fp32(no_accelerator, messages, dtype) -> None:
    model, wrapper = make(dtype, clip_grad=dict(max_norm=1.0))
    before = model.weight.detach().clone()
    assert step(model, wrapper) == torch.float32
    assert not torch.equal(model.weight, before)
    assert len(messages) == 1
    assert 'training in fp32' in messages[0]


def test_accumulation_and_clipping_reach_the_base_class(no_accelerator) -> None:
    model, wrapper = make(accumulative_counts=2, clip_grad=dict(max_norm=1e-3))
    before = model.weight.detach().clone()
    step(model, wrapper)
    assert torch.equal(model.weight, before)
    step(model, wrapper)
    assert 0 < (model.weight - before).norm() <= 1.01e-4  # lr 0.1 x max_norm


def test_a_run_resumes_across_precisions(no_accelerator) -> None:
    model, wrapper = make()
    step(model, wrapper)
    state = wrapper.state_dict()
    assert 'loss_scaler' not in state
    state['loss_scaler'] = {'scale': 65536.0}
    wrapper.load_state_dict(state)
    assert 'loss_scaler' in state  # the caller's dict is left as it was
    step(model, wrapper)


@pytest.mark.parametrize('dtype', ['float32', 'half', torch.float64])
def test_other_dtypes_are_refused(dtype) -> None:
    with pytest.raises(ValueError, match=r'bfloat16.*float16'):
        make(dtype)


@pytest.mark.parametrize('loss_scale', ['static', 0, -1.0])
def test_wrong_loss_scales_are_refused(loss_scale) -> None:
    with pytest.raises(ValueError, match='loss_scale must be "dynamic"'):
        amp._scaler('cpu', loss_scale)


def test_scaled_steps_equal_plain_ones(no_accelerator) -> None:
    plain_model, plain = make(clip_grad=dict(max_norm=0.1))
    model, wrapper = make(clip_grad=dict(max_norm=0.1))
    wrapper.scaler = torch.amp.GradScaler('cpu', init_scale=1024.0)
    for _ in range(3):
        step(plain_model, plain)
        step(model, wrapper)
    torch.testing.assert_close(model.weight, plain_model.weight)
    state = wrapper.state_dict()
    wrapper.scaler.update(2.0)
    wrapper.load_state_dict(state)
    assert wrapper.scaler.get_scale() == 1024.0


def test_an_overflowing_fp16_step_is_skipped(no_accelerator) -> None:
    model, wrapper = make()
    wrapper.scaler = torch.amp.GradScaler('cpu', init_scale=1024.0)
    before = model.weight.detach().clone()
    wrapper.update_params(model.weight.sum() * float('inf'))
    assert torch.equal(model.weight, before)
    assert wrapper.scaler.get_scale() == 512.0


@on_gpu
@pytest.mark.parametrize('dtype', ['bfloat16', 'float16'])
def test_on_a_gpu_the_forward_pass_is_cast(dtype) -> None:
    model, wrapper = make(dtype, device='cuda')
    before = model.weight.detach().clone()
    assert step(model, wrapper) == getattr(torch, dtype)
    assert model.weight.dtype == torch.float32
    assert not torch.equal(model.weight, before)
    assert ('loss_scaler' in wrapper.state_dict()) == (dtype == 'float16')
