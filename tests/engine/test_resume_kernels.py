"""How parameters are updated is this run's affair, whatever a checkpoint says."""

from types import SimpleNamespace

import pytest
import torch
from mmengine.optim import OptimWrapper

from mim_zoo.engine.resuming import restore_optimizer


def runner_of(wrapper):
    """Enough of a runner whose learning rate is scheduled."""
    schedule = [SimpleNamespace(param_name='lr')]
    return SimpleNamespace(optim_wrapper=wrapper, param_schedulers=schedule)


def stepped(**kernel) -> OptimWrapper:
    """AdamW after one step on a parameter of ones."""
    parameter = torch.nn.Parameter(torch.ones(3))
    wrapper = OptimWrapper(torch.optim.AdamW([parameter], lr=0.1, **kernel))
    wrapper.update_params(parameter.square().sum())
    return wrapper


@pytest.mark.parametrize('before', [dict(), dict(foreach=True), dict(fused=True)])
@pytest.mark.parametrize('now', [dict(), dict(foreach=True), dict(fused=True)])
def test_a_run_keeps_its_kernel(before: dict, now: dict) -> None:
    source, target = stepped(**before), stepped(**now)
    source.param_groups[0]['lr'] = 0.05
    checkpoint = {'optimizer': source.state_dict()}
    restore_optimizer(runner_of(target), checkpoint, 'file')
    group = target.param_groups[0]
    assert group['lr'] == 0.05
    for key in ('fused', 'foreach'):
        assert group[key] == now.get(key)
    parameter = group['params'][0]
    target.update_params(parameter.square().sum())
    assert float(target.optimizer.state[parameter]['step']) == 2


def test_loss_scaling_goes_on_with_a_fused_update() -> None:
    """What fp16 runs of before the fused update resume with."""
    target = stepped(fused=True)
    checkpoint = {'optimizer': stepped().state_dict()}
    restore_optimizer(runner_of(target), checkpoint, 'file')
    scaler = torch.amp.GradScaler('cpu')
    parameter = target.param_groups[0]['params'][0]
    before = parameter.detach().clone()
    scaler.scale(parameter.square().sum()).backward()
    scaler.step(target.optimizer)
    scaler.update()
    assert not torch.equal(parameter, before)
