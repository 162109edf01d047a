"""MMEngine's runner, made safe to kill and honest about what it loads."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mmengine.dist import is_distributed
from mmengine.optim import OptimWrapper
from mmengine.runner import BaseLoop, Runner
from torch import nn
from torch.utils.data import DataLoader

from mim_zoo.models.encoder import check_loaded
from mim_zoo.registry import RUNNERS

from .checkpoint import check_whole, local_backend_args, newest_for_all
from .data_root import fill_data_root
from .distributed import cpu_wrapper_cfg, init_gloo, on_cpu
from .loading import load_weights, read_checkpoint, state_dict_of
from .loops import check_batches, check_schedule, evaluate_first, says_what_is_empty
from .memory import keep_freed_memory
from .rates import scale_rates
from .resuming import (
    group_values,
    optimizers_of,
    restore_gradients,
    restore_model,
    restore_optimizer,
    restore_progress,
    restore_schedules,
    restore_seed,
)
from .sharding import (
    full_optimizer_state,
    full_weights,
    shard,
    shard_optimizer_state,
    shard_options,
)

# What ``default_hooks`` says of one takes its place; dict(seed=None) switches it off.
DEFAULT_HOOKS: dict[str, dict] = {
    'runtime_info': {'type': 'mim_zoo.LazyRuntimeInfoHook'},
    'seed': {'type': 'mim_zoo.SeedHook'},
    'non_finite': {'type': 'mim_zoo.NonFiniteLossHook'},
    'resume_state': {'type': 'mim_zoo.ResumeStateHook'},
    'checkpoint': {'type': 'mim_zoo.SafeCheckpointHook', 'interval': 1},
}
# MMEngine's own, which it leaves out if they are None; another None is an error there.
MMENGINE_HOOKS = {
    *('runtime_info', 'timer', 'sampler_seed', 'logger', 'param_scheduler'),
    'checkpoint',
}


@RUNNERS.register_module()
class ZooRunner(Runner):
    """A Runner whose training goes on after a kill as if nothing had happened.

    It resumes from the newest whole checkpoint, inside an epoch too; reads files
    without running code from them; reports what ``load_from`` filled; scales the
    learning rate by the effective batch; trains on CPUs under torchrun (gloo).
    """

    _randomness_cfg: dict[str, Any]
    _resume: bool | str
    _measures = False

    def setup_env(self, env_cfg: dict) -> None:
        """Set the environment up; on CPUs memory is kept and gloo distributes."""
        if on_cpu():
            keep_freed_memory()
        if self.distributed and not is_distributed() and on_cpu():
            init_gloo(self.launcher, env_cfg.get('dist_cfg', {}).get('timeout'))
        super().setup_env(env_cfg)

    def wrap_model(self, model_wrapper_cfg: dict | None, model: nn.Module) -> nn.Module:
        """Wrap for distributed training, or shard the model if ``FullyShard``.

        One process alone trains the model as it is.
        """
        options = shard_options(model_wrapper_cfg)
        if options is not None and self.distributed:
            return shard(model, **options)
        if self.distributed and on_cpu():
            unused = self.cfg.get('find_unused_parameters', False)
            model_wrapper_cfg = cpu_wrapper_cfg(model_wrapper_cfg, unused)
        return super().wrap_model(model_wrapper_cfg, model)

    def register_default_hooks(self, hooks: dict[str, Any] | None = None) -> None:
        """Register MMEngine's default hooks and ours; None switches one off."""
        hooks = {**DEFAULT_HOOKS, **(hooks or {})}
        super().register_default_hooks(
            {
                name: hook
                for name, hook in hooks.items()
                if hook is not None or name in MMENGINE_HOOKS
            }
        )

    def scale_lr(
        self, optim_wrapper: OptimWrapper, auto_scale_lr: dict | None = None
    ) -> None:
        """Scale by processes x batch x accumulation, over ``base_batch_size``."""
        if not auto_scale_lr or not auto_scale_lr.get('enable', False):
            return
        scale_rates(self, auto_scale_lr.get('base_batch_size'))

    def build_param_scheduler(self, scheduler: Any) -> Any:
        """Build the schedule; ValueError if it begins where the run has ended."""
        check_schedule(scheduler, self.max_epochs, self.max_iters)
        return super().build_param_scheduler(scheduler)

    def build_dataloader(  # type: ignore[override]
        self,
        dataloader: DataLoader | dict,
        seed: int | None = None,
        diff_rank_seed: bool = False,
    ) -> DataLoader:
        """Build a dataloader, the config's ``data_root`` filled in.

        Raises ValueError if it has no image, or ``drop_last`` leaves no batch.
        """
        filled = fill_data_root(dataloader, self.cfg)
        if isinstance(filled, dict) and not filled.get('num_workers'):
            filled.pop('persistent_workers', None)  # there is none to persist
        with says_what_is_empty(filled):
            loader = Runner.build_dataloader(filled, seed, diff_rank_seed)
        check_batches(loader)
        return loader

    def build_train_loop(self, loop: BaseLoop | dict) -> BaseLoop:
        """Build the training loop, ours by epoch unless ``type`` says otherwise."""
        if isinstance(loop, dict) and loop.get('by_epoch', True):
            loop = {key: value for key, value in loop.items() if key != 'by_epoch'}
            loop = _typed(loop, 'mim_zoo.EpochTrainLoop')
        return super().build_train_loop(loop)

    def build_val_loop(self, loop: BaseLoop | dict) -> BaseLoop:
        """Build the validation loop, ours unless ``type`` says otherwise."""
        return super().build_val_loop(_typed(loop, 'mim_zoo.ValLoop'))

    def build_test_loop(self, loop: BaseLoop | dict) -> BaseLoop:
        """Build the test loop, ours unless ``type`` says otherwise."""
        return super().build_test_loop(_typed(loop, 'mim_zoo.TestLoop'))

    def save_checkpoint(
        self,
        out_dir: str,
        filename: str,
        file_client_args: dict | None = None,
        save_optimizer: bool = True,
        save_param_scheduler: bool = True,
        meta: dict | None = None,
        by_epoch: bool = True,
        backend_args: dict | None = None,
    ) -> None:
        """Write a checkpoint whole; every rank calls, the first one writes.

        Hooks are called at ``before_checkpoint`` on every rank.
        """
        self.call_hook('before_checkpoint')
        if file_client_args is None:
            backend_args = local_backend_args(str(out_dir), backend_args)
        with full_weights(self.model), full_optimizer_state(optimizers_of(self)):
            super().save_checkpoint(
                out_dir,
                filename,
                file_client_args,
                save_optimizer=save_optimizer,
                save_param_scheduler=save_param_scheduler,
                meta=meta,
                by_epoch=by_epoch,
                backend_args=backend_args,
            )

    def _init_model_weights(self) -> None:
        with full_weights(self.model, write=True):
            super()._init_model_weights()

    def load_or_resume(self) -> None:
        """Resume, or load weights.

        ``resume='auto'``, or without ``load_from``: from the newest whole checkpoint
        of the work folder, and if there is none a new run begins, from ``load_from``.
        """
        if self._has_loaded:
            return
        if self._resume:
            auto = self._resume == 'auto' or self._load_from is None
            path = newest_for_all(self.work_dir) if auto else self._load_from
            if path is not None:
                self.resume(path)
                return
            self.logger.warning(
                f'Nothing to resume from in {self.work_dir}: starting a new run.'
            )
            self._resume = False
        if self._load_from is not None:
            self.load_checkpoint(self._load_from)

    def call_hook(self, fn_name: str, **kwargs: Any) -> None:
        """Call a method of every hook; a resumed run then evaluates what it must."""
        super().call_hook(fn_name, **kwargs)
        if fn_name == 'before_train':
            evaluate_first(self)

    def test(self) -> dict:
        """Measure a checkpoint that holds every weight of the model."""
        self._measures = True
        return super().test()

    def train(self) -> nn.Module:
        """Train, with a word on what an earlier run left in the folder."""
        if not self._resume and any(Path(self.work_dir).glob('*.pth')):
            self.logger.warning(
                f'{self.work_dir} holds checkpoints of an earlier run, which this one '
                'will replace: --resume goes on from them, another --work-dir keeps '
                'them.'
            )
        return super().train()

    def load_checkpoint(
        self,
        filename: str,
        map_location: str | Callable = 'cpu',
        strict: bool = False,
        revise_keys: Sequence[tuple[str, str]] = ((r'^module.', ''),),
    ) -> dict:
        """Load weights, reporting the share; ValueError below 90%, and for an encoder
        that would stay random in part.

        All must be there when ``strict``, and in ``test``: nothing random is measured.
        ``map_location`` is MMEngine's: files are read onto the CPU, and copied from
        there to wherever the model is.
        """
        checkpoint = read_checkpoint(filename)
        self.call_hook('after_load_checkpoint', checkpoint=checkpoint)
        state = state_dict_of(checkpoint)
        for pattern, replacement in revise_keys:
            state = {re.sub(pattern, replacement, k): v for k, v in state.items()}
        self.logger.info(f'Loading weights from {filename}')
        share = 1.0 if strict or self._measures else 0.9
        try:
            with full_weights(self.model, write=True):
                report = load_weights(self.model, state, '', share, logger=self.logger)
        except ValueError as error:
            raise ValueError(f'{filename}: {error}') from error
        check_loaded(report, filename, 'backbone.')
        self._has_loaded = True
        return checkpoint

    def resume(
        self,
        filename: str,
        resume_optimizer: bool = True,
        resume_param_scheduler: bool = True,
        map_location: str | Callable = 'default',
    ) -> None:
        """Go on from a checkpoint; ValueError if it is damaged or of another run.

        ``map_location`` is MMEngine's, see ``load_checkpoint``.
        """
        check_whole(filename)
        checkpoint = read_checkpoint(filename)
        needed = {'meta', 'state_dict', 'message_hub'}
        if resume_optimizer:
            needed.add('optimizer')
        if missing := needed - checkpoint.keys():
            raise ValueError(
                f'Cannot resume from {filename}: it has weights but no training state '
                f'({", ".join(sorted(missing))}). Use load_from without resume to '
                'start a new run from its weights.'
            )
        self.call_hook('after_load_checkpoint', checkpoint=checkpoint)
        with full_weights(self.model, write=True):
            restore_model(self.model, checkpoint['state_dict'], filename)
        self.message_hub.load_state_dict(checkpoint['message_hub'])
        restore_seed(self, checkpoint)
        alike = restore_progress(self, checkpoint)
        former = group_values(self)
        if resume_optimizer:
            restore_optimizer(self, checkpoint, filename)
            shard_optimizer_state(optimizers_of(self))
            if alike:
                gradients = checkpoint.get('resume', {}).get('gradients', {})
                restore_gradients(self, gradients)
        if resume_param_scheduler:
            restore_schedules(self, checkpoint, former)
        self._has_loaded = True
        self.logger.info(
            f'Resumed from {filename}: epoch {self.epoch}, iteration {self.iter}.'
        )


def _typed(loop: BaseLoop | dict, default: str) -> BaseLoop | dict:
    return {'type': default, **loop} if isinstance(loop, dict) else loop
