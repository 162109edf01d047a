"""Compiled blocks: the same numbers, few graphs, nothing else changes."""

import copy
from typing import Any

import pytest
import torch
import torch._dynamo
from mmengine.hooks import Hook
from test_teacher_hooks import dbot
from torch import nn
from toy_run import build, train

from mim_zoo.engine.hooks.compile_blocks import compile_blocks
from mim_zoo.models.layers import Block
from mim_zoo.registry import MODELS

PIXELS = dict(
    type='MIMHead',
    target=dict(type='PixelTarget'),
    loss=dict(type='MaskedMSE'),
    decoder=dict(type='TransformerDecoder', embed_dim=16, depth=2, num_heads=2),
)
VIT = dict(
    type='MIMViT',
    arch=dict(embed_dim=32, depth=12, num_heads=2),
    img_size=32,
    patch_size=8,
)
MIXMIM = dict(
    type='MixMIMViT',
    arch=dict(
        embed_dim=16, depths=(2, 2), num_heads=(1, 2), windows=(4, 4), patch_size=4
    ),
    img_size=32,
)


def model(kind='MAE', backbone=VIT, corruption='DropPatches', **more: Any) -> dict:
    mix = corruption == 'MixImages'
    masking = dict(type='MixedMasking' if mix else 'RandomMasking', ratio=0.5)
    return dict(
        type=kind,
        backbone=backbone,
        corruption=dict(type=corruption),
        head=PIXELS,
        data_preprocessor=dict(
            type='MIMDataPreprocessor',
            mean=[0.0] * 3,
            std=[1.0] * 3,
            batch_transforms=[masking],
        ),
        **more,
    )


# graphs in training: one per kind of block (MixMIM pads and shifts in one stage)
CASES = {
    'mae': (model(), 2),
    'mae, checkpointed': (model(backbone=dict(VIT, with_cp=True)), 2),
    'mae, drop path': (model(backbone=dict(VIT, drop_path_rate=0.2)), 13),
    'mixmim': (model('MixMIM', MIXMIM, 'MixImages'), 3),
    'deepmim': (
        model(
            'DeepMIM', neck=dict(type='LevelFusion', outputs=[[5], [7], [9], [11]])
        ),
        2,
    ),
}  # fmt: skip


class Counter:
    """A backend that runs what it gets as it is, and counts it."""

    def __init__(self) -> None:
        self.graphs = 0

    def __call__(self, graph: torch.fx.GraphModule, _: list) -> Any:
        self.graphs += 1
        return graph.forward


def losses(net: nn.Module, steps: int = 3) -> list[float]:
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    found = []
    for step in range(steps):
        torch.manual_seed(step)
        batch = dict(inputs=torch.rand(4, 3, 32, 32), sample_idx=torch.arange(4))
        data = net.data_preprocessor(batch, True)
        loss, _ = net.parse_losses(net(**data, mode='loss'))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(float(loss.detach()))
    return found


@pytest.mark.parametrize('name', CASES)
def test_the_same_losses_from_few_graphs(name: str) -> None:
    cfg, graphs = CASES[name]
    torch._dynamo.reset()
    torch.manual_seed(0)
    plain = MODELS.build(cfg).train()
    compiled, counter = copy.deepcopy(plain), Counter()
    count = compile_blocks(compiled, backend=counter, fullgraph=True)
    assert count == sum(isinstance(m, Block) for m in plain.modules())
    assert losses(compiled) == pytest.approx(losses(plain), rel=1e-6)
    assert counter.graphs == graphs
    compiled.eval()
    with torch.no_grad():  # may not fail, nor compile anew what it has
        for _ in range(2):
            data = dict(inputs=torch.rand(4, 3, 32, 32), sample_idx=torch.arange(4))
            compiled(**compiled.data_preprocessor(data), mode='predict')
    assert counter.graphs <= 2 * graphs
    assert compiled.state_dict().keys() == plain.state_dict().keys()


def test_gradients_by_the_compiler() -> None:
    torch._dynamo.reset()
    torch.manual_seed(0)
    plain = MODELS.build(model(backbone=dict(VIT, arch={**VIT['arch'], 'depth': 2})))
    compiled = copy.deepcopy(plain)
    compile_blocks(compiled, backend='aot_eager')
    losses(plain, 1), losses(compiled, 1)
    for ours, theirs in zip(compiled.parameters(), plain.parameters()):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-7)


def test_a_model_without_blocks() -> None:
    with pytest.raises(ValueError, match='Linear has no blocks to compile'):
        compile_blocks(nn.Linear(2, 2))


class Calls(Hook):
    """Whether the blocks were compiled when training began."""

    priority = 'LOWEST'

    def before_train_iter(self, runner: Any, *_: Any, **__: Any) -> None:
        blocks = [m for m in runner.model.modules() if isinstance(m, Block)]
        self.compiled = [block._compiled_call_impl is not None for block in blocks]


def test_a_run_resumes_with_the_hook_and_without(tmp_path) -> None:
    """dBOT, whose first teacher and momentum are copies of the student."""
    torch._dynamo.reset()
    hook = dict(type='CompileBlocksHook', backend='eager')
    options = dbot()
    plain = train(tmp_path / 'plain', **dbot())
    options['custom_hooks'] = [hook, *options['custom_hooks'][:1]]
    compiled = build(tmp_path / 'compiled', **{**options, 'max_epochs': 2})
    compiled.register_hook(calls := Calls())
    compiled.train()
    assert len(calls.compiled) == 5 and all(calls.compiled)
    resumed = train(tmp_path / 'compiled', **dbot(), resume=True)
    state = {k: v.clone() for k, v in resumed.model.state_dict().items()}
    for name, value in plain.model.state_dict().items():
        torch.testing.assert_close(state[name], value, rtol=1e-4, atol=1e-6)
