"""A training run of seconds whose every number depends on the randomness.

As a script it is one process of a run (to be killed, or started by torchrun)::

    python toy_run.py WORK_DIR '{"max_epochs": 2, ...}'
"""

import json
import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import mmengine.runner.runner
import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from torch import nn
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook

import mim_zoo.datasets
import mim_zoo.engine  # noqa: F401
from mim_zoo.datasets.sampler import Draw, seeded
from mim_zoo.engine.distributed import end_together
from mim_zoo.engine.sharding import local
from mim_zoo.models.base import unwrap
from mim_zoo.models.layers import Block
from mim_zoo.registry import DATASETS, HOOKS, MODELS, RUNNERS

ROOT = Path(__file__).parents[2]
SAMPLES = 24


# Asking compilers for their versions takes longer than a whole run.
mmengine.runner.runner.collect_env = dict


@DATASETS.register_module(force=True)
class ToyData(BaseDataset):
    """Vectors, or arrays, with random noise and flips as augmentation."""

    def __init__(self, samples=SAMPLES, poison=None, shape=(6,)):
        self.poison = poison
        self.shape = shape
        self.samples = samples
        super().__init__(serialize_data=False)

    def load_data_list(self):
        return [{'img_path': f'images/{i}.png'} for i in range(self.samples)]

    def __getitem__(self, idx):
        with seeded(getattr(idx, 'seed', None)):
            i = int(idx)
            places = torch.arange(float(np.prod(self.shape))).reshape(*self.shape)
            x = torch.sin(places * (i + 1)) + 0.1 * torch.randn(*self.shape)
            x = x.flip(0) if np.random.rand() < 0.5 else x
            if i == self.poison:
                x = x * float('nan')
        found = {'inputs': x, 'sample_idx': i, 'img_path': f'images/{i}.png'}
        found['gt_label'] = i % 2
        return {**found, 'seed': idx.seed} if isinstance(idx, Draw) else found


@MODELS.register_module(force=True)
class ToyModel(BaseModel):
    """Linear, dropout, linear; the target is the clean part of the input."""

    def __init__(self, width=8, dropout=0.3, groups=None):
        super().__init__()
        self.first, self.last = nn.Linear(6, width), nn.Linear(width, 6)
        self.dropout = nn.Dropout(dropout)

    def forward(self, inputs, mode='loss', **_):
        noise = 0.0 if not self.dropout.p else torch.rand_like(inputs)
        out = self.last(self.dropout(torch.relu(self.first(inputs + noise))))
        error = (out - inputs).square().mean()
        return {'loss': error} if mode == 'loss' else [error]


@HOOKS.register_module(force=True)
class ToyRecorder(Hook):
    """Keeps the draws; at iteration ``at`` dies, is killed or poisons the weights."""

    priority = 'LOWEST'

    def __init__(self, at=None, action='kill'):
        self.at, self.action, self.seen = at, action, []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.seen.append((runner.iter, batch_idx, data_batch['sample_idx'].tolist()))
        if runner.iter + 1 != self.at:
            return
        if self.action == 'kill':
            os.kill(os.getpid(), signal.SIGKILL)
        if self.action == 'raise':
            raise InterruptedError(f'at iteration {self.at}')
        if self.action == 'kill_while_writing':
            os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)


@HOOKS.register_module(force=True)
class ToyDraws(Hook):
    """Writes what this process draws, as it does: epoch, iteration, paths."""

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        line = json.dumps([runner.epoch, runner.iter, data_batch['img_path']])
        with (Path(runner.work_dir) / f'draws_{runner.rank}').open('a') as file:
            file.write(line + '\n')


@HOOKS.register_module(force=True)
class ToyReductions(Hook):
    """Writes in which iterations DDP brought gradients together."""

    def before_train(self, runner):
        self.runner, self.at = runner, []
        runner.model.register_comm_hook(self, ToyReductions.reduce)

    @staticmethod
    def reduce(hook, bucket):
        hook.at.append(hook.runner.iter)
        return allreduce_hook(None, bucket)

    def after_train(self, runner):
        (Path(runner.work_dir) / f'reductions_{runner.rank}').write_text(str(self.at))


@HOOKS.register_module(force=True)
class ToyParts(Hook):
    """Writes how many numbers of the model this process holds, and its features."""

    def after_train(self, runner):
        values = [*runner.model.parameters(), *runner.model.buffers()]
        held = sum(local(value).numel() for value in values)
        model, image = unwrap(runner.model).eval(), torch.ones(1, 3, 8, 8)
        with torch.no_grad():
            features = [model.extract_feat(image), *model.extract_block_feats(image)]
        found = json.dumps([held, torch.cat(features, 1).flatten().tolist()])
        (Path(runner.work_dir) / f'parts_{runner.rank}').write_text(found)


@HOOKS.register_module(force=True)
class ToyGathered(Hook):
    """Writes of the first block's first layer: its type in the forward pass, and how
    many numbers of it this process holds then, and when the model is through.
    """

    def before_train(self, runner):
        block = next(m for m in runner.model.modules() if isinstance(m, Block))
        layer, self.seen = block.mlp.fc1, []
        layer.register_forward_hook(lambda *_: self.note(layer))
        runner.model.register_forward_hook(lambda *_: self.note(layer))

    def note(self, layer):
        self.seen.append([str(layer.weight.dtype), local(layer.weight).numel()])

    def after_train(self, runner):
        found = json.dumps(self.seen[:2])
        (Path(runner.work_dir) / f'gathered_{runner.rank}').write_text(found)


def toy_cfg(work_dir, **given):
    """The run's config; ``given`` replaces the values below or whole parts of it."""
    values = dict(max_epochs=2, batch_size=4, accumulate=1, workers=0, interval=2)
    values |= dict(by_epoch=False, lr=0.05, at=None, action='kill', poison=None)
    values |= dict(width=8, dropout=0.3, samples=SAMPLES, keep=-1, optimizer='AdamW')
    values |= dict(sampler='EpochSampler', seed=3, groups=False)
    for name in values.keys() & given.keys():
        values[name] = given.pop(name)
    v = Config(values)
    optim = dict(
        optimizer=dict(type=v.optimizer, lr=v.lr), accumulative_counts=v.accumulate
    )
    if v.groups:
        optim['paramwise_cfg'] = dict(custom_keys=dict(last=dict(lr_mult=0.1)))
    cfg = dict(
        runner_type='ZooRunner',
        default_scope='mim_zoo',
        experiment_name=uuid.uuid4().hex,  # MMEngine shares its logs by name
        work_dir=str(work_dir),
        model=dict(type='ToyModel', width=v.width, dropout=v.dropout),
        train_dataloader=dict(
            batch_size=v.batch_size,
            num_workers=v.workers,
            dataset=dict(type='ToyData', samples=v.samples, poison=v.poison),
            sampler=dict(type=v.sampler, shuffle=True),
            collate_fn=dict(type='default_collate'),
        ),
        train_cfg=dict(type='EpochTrainLoop', max_epochs=v.max_epochs),
        optim_wrapper=optim,
        param_scheduler=[
            dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=4),
            dict(type='StepLR', step_size=1, gamma=0.7),
            dict(
                type='CosineAnnealingLR',
                T_max=v.max_epochs,
                by_epoch=True,
                convert_to_iter_based=True,
            ),
        ],
        default_hooks=dict(
            checkpoint=dict(
                type='CheckpointHook',
                interval=v.interval,
                by_epoch=v.by_epoch,
                max_keep_ckpts=v.keep,
            ),
            logger=dict(type='LoggerHook', interval=1),
        ),
        custom_hooks=[dict(type='ToyRecorder', at=v.at, action=v.action)],
        randomness=dict(seed=v.seed),
        visualizer=dict(type='Visualizer', vis_backends=[]),
        env_cfg=dict(dist_cfg=dict(timeout=60)),
        log_level='INFO',
    )
    return Config({**cfg, **given}, format_python_code=False)


def build(work_dir, **given):
    return RUNNERS.build(toy_cfg(work_dir, **given))


def train(work_dir, **given):
    """Run to the end; the runner and what it drew."""
    runner = build(work_dir, **given)
    runner.train()
    return runner


def draws(runner):
    return next(h.seen for h in runner.hooks if isinstance(h, ToyRecorder))


def state_of(runner):
    """All that must not depend on having been killed."""
    wrapper = runner.optim_wrapper
    return {
        'weights': runner.model.state_dict(),
        'optimizer': wrapper.state_dict(),
        'schedulers': [s.state_dict() for s in runner.param_schedulers],
        'gradients': [p.grad for p in runner.model.parameters()],
        'place': (runner.epoch, runner.iter),
        'rng': torch.get_rng_state(),
        'numpy': np.random.get_state()[1],
        'losses': runner.message_hub.get_scalar('train/loss').data,
        'lrs': runner.message_hub.get_scalar('train/lr').data,
    }


def start(work_dir, prefix=(), **given):
    """Run in a process of its own; ``prefix`` goes between python and this script."""
    path = os.pathsep.join([str(ROOT), os.environ.get('PYTHONPATH', '')])
    return subprocess.run(
        [sys.executable, *prefix, __file__, str(work_dir), json.dumps(given)],
        env={**os.environ, 'PYTHONPATH': path, 'OMP_NUM_THREADS': '1'},
        capture_output=True,
        text=True,
        timeout=300,
    )


def checkpoints(folder):
    return sorted(p.name for p in Path(folder).glob('*.pth'))


if __name__ == '__main__':
    torch.set_num_threads(1)
    folder, options = Path(sys.argv[1]), json.loads(sys.argv[2])
    replicas = options.pop('replicas', False)
    done = train(folder, **options)
    if replicas:
        torch.save(unwrap(done.model).state_dict(), folder / f'rank{done.rank}.bin')
    elif done.rank == 0:
        torch.save(unwrap(done.model).state_dict(), folder / 'final.bin')
    end_together()
