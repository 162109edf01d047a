"""A sharded model trains, is saved, goes on and is evaluated as one of DDP is."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from test_distributed import start_pair
from torch import nn
from toy_run import build, train

from mim_zoo.engine import sharding
from mim_zoo.engine.sharding import (
    check_batches_alike,
    has_images,
    is_sharded,
    shard,
    shard_options,
)
from mim_zoo.models.layers import Block

SHARDS = dict(type='mim_zoo.FullyShard')
VIT = dict(
    type='MIMViT',
    arch=dict(embed_dim=16, depth=3, num_heads=2),
    img_size=8,
    patch_size=2,
)
MIXMIM = dict(
    type='MixMIMViT',
    arch=dict(
        embed_dim=8, depths=(2, 1), num_heads=(1, 2), windows=(2, 2), patch_size=1
    ),
    img_size=8,
)


def options(kind: str = 'MAE', **given: Any) -> dict[str, Any]:
    """Of a run of 12 iterations."""
    mix = kind == 'MixMIM'
    masking = dict(type='MixedMasking' if mix else 'RandomMasking', ratio=0.5)
    pixels = dict(type='MIMDataPreprocessor', mean=[0.0] * 3, std=[1.0] * 3)
    model = dict(
        type=kind,
        backbone=MIXMIM if mix else VIT,
        corruption=dict(type='MixImages' if mix else 'DropPatches'),
        head=dict(
            type='MIMHead',
            target=dict(type='PixelTarget'),
            loss=dict(type='MaskedMSE'),
            decoder=dict(type='TransformerDecoder', embed_dim=16, depth=1, num_heads=2),
        ),
        data_preprocessor=dict(pixels, batch_transforms=[masking]),
    )
    if kind == 'Classifier':
        model = dict(
            type=kind,
            backbone=dict(VIT, frozen_stages=1),
            num_classes=2,
            head_init_std=0.1,
            data_preprocessor=pixels,
        )
    data = dict(
        batch_size=2,
        num_workers=0,
        dataset=dict(type='ToyData', shape=[3, 8, 8]),
        sampler=dict(type='EpochSampler', shuffle=True),
        collate_fn=dict(type='default_collate'),
    )
    optim = dict(
        type='OptimWrapper',
        # AdamW would make as much of the rounding errors in biases of keys
        optimizer=dict(type='SGD', lr=0.05, momentum=0.9, weight_decay=0.01),
        constructor='LayerDecayConstructor',
        clip_grad=dict(max_norm=0.5),
        accumulative_counts=given.pop('accumulate', 1),
    )
    return dict(
        dict(model=model, train_dataloader=data, optim_wrapper=optim, interval=6),
        **given,
    )


def last(folder: Path, name: str = 'iter_12.pth') -> dict[str, Any]:
    return torch.load(folder / name, weights_only=False)


def losses_of(folder: Path) -> list[float]:
    return last(folder)['message_hub']['log_scalars']['train/loss'].data[0].tolist()


def assert_alike(one: Any, other: Any) -> None:
    if isinstance(one, torch.Tensor):
        assert type(one) is type(other)
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    elif isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_alike(one[key], other[key])
    elif isinstance(one, list | tuple):
        assert len(one) == len(other)
        for a, b in zip(one, other):
            assert_alike(a, b)
    elif isinstance(one, float):
        assert one == pytest.approx(other, rel=1e-4)


def pair(folder: Path, **given: Any) -> str:
    done = start_pair(folder, **given)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ('kind', 'accumulate'), [('MAE', 1), ('MAE', 3), ('MixMIM', 1), ('Classifier', 1)]
)
def test_it_trains_as_ddp_does(tmp_path, kind, accumulate) -> None:
    given = options(kind, accumulate=accumulate)
    given['custom_hooks'] = [dict(type='ToyParts')]
    pair(tmp_path / 'ddp', **given)
    pair(tmp_path / 'parts', model_wrapper_cfg=SHARDS, **given)
    one, two = last(tmp_path / 'ddp'), last(tmp_path / 'parts')
    for key in ('state_dict', 'optimizer', 'param_schedulers'):
        assert_alike(one[key], two[key])
    losses = [losses_of(tmp_path / kind) for kind in ('ddp', 'parts')]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    held, features = zip(
        *(
            json.loads((tmp_path / kind / f'parts_{rank}').read_text())
            for kind in ('parts', 'ddp')
            for rank in range(2)
        )
    )
    total = sum(v.numel() for v in two['state_dict'].values())
    assert max(held[:2]) < 0.6 * total <= total <= sum(held[:2])
    assert all(one == pytest.approx(features[0], rel=1e-3) for one in features)


@pytest.mark.slow
@pytest.mark.parametrize('accumulate', [1, 4])
def test_it_goes_on_after_a_kill(tmp_path, accumulate) -> None:
    given = options(accumulate=accumulate, model_wrapper_cfg=SHARDS)
    given['optim_wrapper']['optimizer'] = dict(type='AdamW', lr=0.01)
    pair(tmp_path / 'one', **given)
    stopped = start_pair(tmp_path / 'two', at=8, action='raise', **given)
    assert 'InterruptedError' in stopped.stderr
    pair(tmp_path / 'two', resume=True, **given)
    for key in ('state_dict', 'optimizer', 'param_schedulers', 'message_hub'):
        assert_alike(last(tmp_path / 'one')[key], last(tmp_path / 'two')[key])


@pytest.mark.slow
def test_checkpoints_are_those_of_any_run(tmp_path) -> None:
    """Begun in one way, the run goes on in the other, and alone."""
    given = options()
    pair(tmp_path / 'ddp', **given)
    pair(tmp_path / 'parts', model_wrapper_cfg=SHARDS, **given)
    for folder, wrapper in (('ddp', SHARDS), ('parts', None)):
        file = str(tmp_path / folder / 'iter_6.pth')
        more = dict(model_wrapper_cfg=wrapper) if wrapper else {}
        pair(tmp_path / f'{folder}2', load_from=file, resume=True, **more, **given)
        assert_alike(
            last(tmp_path / folder)['state_dict'],
            last(tmp_path / f'{folder}2')['state_dict'],
        )
    given['train_dataloader']['batch_size'] = 4  # of one process instead of two
    file = str(tmp_path / 'parts' / 'iter_6.pth')
    alone = train(tmp_path / 'alone', load_from=file, resume=True, **given)
    assert_alike(last(tmp_path / 'parts')['state_dict'], dict(alone.model.state_dict()))


def gathered(folder: Path) -> list[list]:
    """Of the first process, which holds what the other one does."""
    one, two = ((folder / f'gathered_{n}').read_text() for n in range(2))
    assert one == two
    return json.loads(one)


@pytest.mark.slow
def test_what_its_options_change(tmp_path) -> None:
    """The precision of the forward pass, and the weights that are held after it."""
    given = options(custom_hooks=[dict(type='ToyGathered')])
    cases = dict(plain={}, kept=dict(reshard_after_forward=False))
    cases |= dict(half=dict(dtype='bfloat16'))
    for name, more in cases.items():
        pair(tmp_path / name, model_wrapper_cfg={**SHARDS, **more}, **given)
    count = 16 * 64
    for name, kind, after in (
        ('plain', 'torch.float32', count // 2),
        ('kept', 'torch.float32', count),
        ('half', 'torch.bfloat16', count // 2),
    ):
        inside, outside = gathered(tmp_path / name)
        assert inside == [kind, count] and outside[1] == after
    plain, kept, half = (losses_of(tmp_path / name) for name in cases)
    assert kept == plain
    assert half != plain and half == pytest.approx(plain, rel=0.02)
    weights = last(tmp_path / 'half')['state_dict'].values()
    assert {value.dtype for value in weights} == {torch.float32}


def test_one_process_alone_shards_nothing(tmp_path) -> None:
    runner = build(tmp_path, model_wrapper_cfg=SHARDS, **options())
    assert type(runner.model).__name__ == 'MAE' and not is_sharded(runner.model)


def test_mistakes() -> None:
    assert shard_options(None) is None and shard_options(dict(a=1)) is None
    assert shard_options(dict(SHARDS, dtype='bfloat16')) == dict(dtype='bfloat16')
    with pytest.raises(ValueError, match=r"dtype must be one of .*got 'half'"):
        shard(nn.Linear(1, 1), dtype='half')
    with pytest.raises(ValueError, match='Linear has no blocks'):
        shard(nn.Linear(1, 1))
    teacher = nn.ModuleDict(dict(teacher=nn.Sequential(Block(8, 2)), block=Block(8, 2)))
    with pytest.raises(ValueError, match='ModuleDict has a teacher beside'):
        shard(teacher)


def test_evaluation_that_would_wait_forever_is_refused(monkeypatch) -> None:
    model, loader = nn.Linear(2, 2), range(2)
    check_batches_alike(model, loader)  # not sharded: nobody waits
    assert not has_images(model, {}) and has_images(model, {'inputs': 1})
    monkeypatch.setattr(sharding, 'is_sharded', lambda _: True)
    monkeypatch.setattr(sharding, 'all_gather_object', lambda own: [own, 2])
    check_batches_alike(model, loader)
    with pytest.raises(ValueError, match=r'\[3, 2\] batches.*round_up=True'):
        check_batches_alike(model, range(3))
    with pytest.raises(ValueError, match='no image that can be read'):
        has_images(model, {})
