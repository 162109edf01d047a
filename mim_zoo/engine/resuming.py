"""What a resumed run takes from a checkpoint, and the checks before it does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.dist import all_reduce
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.optim.scheduler import ReduceOnPlateauParamScheduler
from mmengine.runner import EpochBasedTrainLoop, Runner
from torch import Tensor, nn
from torch.optim import Optimizer

from mim_zoo.models.base import unwrap
from mim_zoo.registry import HOOKS

from .loops import EpochTrainLoop, layout_of, relocate, sampler_of
from .sharding import full_tensor, sharded

_SHOWN = 5
_KERNEL = ('fused', 'foreach', 'capturable')  # how to update, not what: this run's
_PROGRESS = {'last_step', '_global_step', '_last_value', 'verbose'}  # of a scheduler
_OTHER_RUN = (
    'To resume, use the configuration that wrote it (it is in the checkpoint: '
    "['meta']['cfg']); to start a new run from its weights, give load_from=PATH "
    'without resume.'
)


@HOOKS.register_module()
class ResumeStateHook(Hook):
    """Adds to each checkpoint what MMEngine leaves out, under the key ``resume``.

    That is: gradients accumulated so far, the sampler's seed, the data's layout (to
    find a place inside an epoch) and the optimizer's type. ZooRunner registers it.
    """

    def __init__(self) -> None:
        self._gradients: dict[str, Tensor] = {}

    def before_checkpoint(self, runner: Runner) -> None:
        """On every rank: average the gradients that wait for their update."""
        self._gradients = {}
        if all(wrapper.should_update() for wrapper in wrappers_of(runner).values()):
            return
        for name, parameter in unwrap(runner.model).named_parameters():
            if parameter.grad is not None:
                mean = full_tensor(parameter.grad.detach()).clone()
                all_reduce(mean, 'mean')
                self._gradients[name] = mean.cpu()

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """On the rank that writes."""
        if 'optimizer' in checkpoint:  # not for the best weights
            loader = runner.train_dataloader
            checkpoint['resume'] = {
                'layout': layout_of(loader),
                'sampler_seed': getattr(sampler_of(loader), 'seed', None),
                'optimizer': optimizer_types(runner),
                'gradients': self._gradients,
            }
        self._gradients = {}


def wrappers_of(runner: Runner) -> dict[str, OptimWrapper]:
    """Optimizer wrappers by name; '' if there is one."""
    wrapper = runner.optim_wrapper
    if isinstance(wrapper, OptimWrapperDict):
        return dict(wrapper.items())
    return {'': wrapper}


def optimizers_of(runner: Runner) -> dict[str, Optimizer]:
    """The optimizers of a runner that trains; of another, none."""
    if not isinstance(runner.optim_wrapper, OptimWrapper | OptimWrapperDict):
        return {}
    return {name: wrapper.optimizer for name, wrapper in wrappers_of(runner).items()}


def optimizer_types(runner: Runner) -> dict[str, str]:
    """Class names of the optimizers."""
    return {name: type(one).__name__ for name, one in optimizers_of(runner).items()}


def restore_model(model: nn.Module, state: Mapping[str, Any], path: str) -> None:
    """Load all weights; ValueError if the checkpoint is of another model."""
    own = unwrap(model).state_dict()
    problems = {
        'missing in it': [k for k in own if k not in state],
        'unknown here': [k for k in state if k not in own],
        'of another shape': [
            k
            for k, v in own.items()
            if isinstance(v, Tensor) and k in state and state[k].shape != v.shape
        ],
    }
    if any(problems.values()):
        lists = [f'{_names(v)} {k}' for k, v in problems.items() if v]
        raise ValueError(
            f'Cannot resume from {path}: it is of another model ({"; ".join(lists)}). '
            f'{_OTHER_RUN}'
        )
    unwrap(model).load_state_dict(state)


def restore_optimizer(runner: Runner, checkpoint: dict, path: str) -> None:
    """Load the optimizer's state; ValueError if it was another optimizer."""
    saved, wrappers = checkpoint['optimizer'], wrappers_of(runner)
    multiple = isinstance(runner.optim_wrapper, OptimWrapperDict)
    parts = saved if multiple else {'': saved}
    was = {name: _group_sizes(part) for name, part in parts.items()}
    now = {n: _group_sizes(w.optimizer.state_dict()) for n, w in wrappers.items()}
    kinds = optimizer_types(runner)
    kinds_before = checkpoint.get('resume', {}).get('optimizer', kinds)
    if was != now or kinds != kinds_before:
        raise ValueError(
            f'Cannot resume from {path}: it holds the optimizer {kinds_before} with '
            f'{_count(was)}, and this run has {kinds} with {_count(now)}. {_OTHER_RUN}'
        )
    saved = _copied(saved)
    scheduled, changes = _scheduled(runner), {}
    scheduled |= {f'initial_{name}' for name in scheduled}
    if 'momentum' in scheduled:  # which is the first of Adam's
        scheduled.add('betas')
    for name, wrapper in wrappers.items():
        part = saved[name] if multiple else saved
        for group, own in zip(part.get('param_groups', ()), wrapper.param_groups):
            for key in own.keys() - scheduled - {'params'}:
                if key not in _KERNEL and group.get(key, own[key]) != own[key]:
                    changes[key] = f'{key} {group[key]} in the checkpoint'
                    changes[key] += f', {own[key]} configured now'
                group[key] = own[key]
    if changes:
        runner.logger.warning(
            'The optimizer goes on with what is configured now, which is not what the '
            f'checkpoint was written with: {"; ".join(changes.values())}.'
        )
    runner.optim_wrapper.load_state_dict(saved)


def _schedules(runner: Runner) -> dict[str, list]:
    """Schedulers by the name of the optimizer; '' if there is one."""
    lists = runner.param_schedulers or []
    return lists if isinstance(lists, dict) else {'': lists}


def _scheduled(runner: Runner) -> set[str]:
    """What of a parameter group schedules change."""
    lists = _schedules(runner).values()
    return {scheduler.param_name for schedulers in lists for scheduler in schedulers}


def restore_schedules(runner: Runner, checkpoint: dict, former: list[dict]) -> None:
    """Load the schedulers, or follow this run's schedule if it is another one.

    ``former`` holds the parameter groups as they were before ``restore_optimizer``.
    """
    if runner.param_schedulers is None:
        return
    lists, saved = _schedules(runner), checkpoint.get('param_schedulers', [])
    if not isinstance(runner.param_schedulers, dict):
        saved = {'': saved}
    pairs = [pair for name in lists for pair in zip(lists[name], saved.get(name, ()))]
    counts = [(len(lists[n]), len(saved.get(n, ()))) for n in lists]
    same = all(now == was for now, was in counts) and all(
        _constants(s.state_dict()) == _constants(state) for s, state in pairs
    )
    plateau = any(isinstance(s, ReduceOnPlateauParamScheduler) for s, _ in pairs)
    if same or plateau:
        for scheduler, state in pairs:
            scheduler.load_state_dict(state)
        return
    runner.logger.warning(
        'The schedule (learning rate, epochs or iterations per epoch) is not the one '
        'in the checkpoint: going on at this point of the schedule configured now.'
    )
    for group, before in zip(runner.optim_wrapper.param_groups, former):
        for key in _scheduled(runner):
            group[key] = before[key]
            group[f'initial_{key}'] = before[f'initial_{key}']
    for schedulers in lists.values():
        _replay(schedulers, runner)


def group_values(runner: Runner) -> list[dict]:
    """A copy of all that parameter groups hold beside parameters."""
    groups = [g for w in wrappers_of(runner).values() for g in w.param_groups]
    return [{k: v for k, v in group.items() if k != 'params'} for group in groups]


def restore_gradients(runner: Runner, gradients: Mapping[str, Tensor]) -> None:
    """Put back what was accumulated since the last update."""
    for name, parameter in unwrap(runner.model).named_parameters():
        if name in gradients:
            given = gradients[name].to(parameter.device, parameter.dtype, copy=True)
            parameter.grad = sharded(given, parameter)
    if gradients:
        runner.logger.info(
            'The gradients accumulated since the last update are restored: MMEngine '
            'will warn that they are lost, which does not apply.'
        )


def restore_seed(runner: Runner, checkpoint: dict) -> None:
    """Take over the seeds of the former run, where this one has others."""
    seed = checkpoint['meta'].get('seed')
    configured = runner._randomness_cfg.get('seed')
    if seed is not None and seed != configured:
        if configured is not None:
            runner.logger.warning(
                f"Going on with the checkpoint's seed {seed}, not {configured}."
            )
        runner._randomness_cfg = {**runner._randomness_cfg, 'seed': seed}
        runner.set_randomness(**runner._randomness_cfg)
    sampler = sampler_of(runner.train_dataloader)
    sampler_seed = checkpoint.get('resume', {}).get('sampler_seed')
    if sampler_seed is not None and hasattr(sampler, 'seed'):
        sampler.seed = sampler_seed


def restore_progress(runner: Runner, checkpoint: dict) -> bool:
    """Set the loop's epoch and iteration; tell whether the data is laid out alike."""
    epoch, iteration = checkpoint['meta']['epoch'], checkpoint['meta']['iter']
    loop = runner.train_loop
    now = layout_of(loop.dataloader)
    was = checkpoint.get('resume', {}).get('layout', now)
    loop._epoch, loop._iter = epoch, iteration
    if not isinstance(loop, EpochBasedTrainLoop):
        return was == now
    inside = iteration != epoch * (was['batches'] or 0)
    if inside and not isinstance(loop, EpochTrainLoop):
        raise ValueError(
            f'Cannot resume inside an epoch, at iteration {iteration}: '
            f'{type(loop).__name__} would begin epoch {epoch + 1} again. Use '
            "train_cfg.type='mim_zoo.EpochTrainLoop', or resume from a checkpoint at "
            'the end of an epoch.'
        )
    if was == now:
        return True
    loop._iter = relocate(epoch, iteration, was, now)
    runner.logger.warning(
        f'The training data was {was} and is now {now}: iteration {iteration} of the '
        f'checkpoint becomes {loop._iter}.'
    )
    return False


def _replay(schedulers: list, runner: Runner) -> None:
    """Step fresh schedulers as the ParamSchedulerHook would have up to now."""
    length = len(runner.train_dataloader)
    for step in range(1, runner.iter + 1):
        for scheduler in schedulers:
            if not scheduler.by_epoch:
                scheduler.step()
        if step % length == 0 and step // length <= runner.epoch:
            for scheduler in schedulers:
                if scheduler.by_epoch:
                    scheduler.step()


def _constants(state: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in state.items() if k not in _PROGRESS}


def _copied(value: Any) -> Any:
    """Clone tensors: those of a file may be mapped to it, and it may be removed."""
    if isinstance(value, Tensor):
        return value.clone()
    if isinstance(value, dict):
        return {k: _copied(v) for k, v in value.items()}
    return [_copied(v) for v in value] if isinstance(value, list) else value


def _group_sizes(state: Mapping[str, Any]) -> list[int]:
    return [len(group['params']) for group in state.get('param_groups', ())]


def _count(sizes: Mapping[str, list[int]]) -> str:
    groups = [size for part in sizes.values() for size in part]
    return f'{sum(groups)} parameters in {len(groups)} groups'


def _names(names: list[str]) -> str:
    rest = f' and {len(names) - _SHOWN} more' if len(names) > _SHOWN else ''
    return ', '.join(names[:_SHOWN]) + rest
