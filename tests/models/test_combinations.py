"""The methods, and products of them, by their parts alone (DESIGN's table of methods).

Each trains every parameter it has, traces as one graph, and runs under DDP without
looking for unused parameters.
"""

from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from mim_zoo.datasets.masking import BlockMasking, MixedMasking, RandomMasking
from mim_zoo.models import MIM
from mim_zoo.registry import MODELS

PLAIN = dict(
    type='MIMViT',
    arch=dict(embed_dim=32, depth=4, num_heads=2),
    img_size=32,
    patch_size=8,
)
PYRAMID = dict(
    type='MixMIMViT',
    arch=dict(
        embed_dim=16, depths=(1, 3), num_heads=(1, 2), windows=(4, 4), patch_size=4
    ),
    img_size=32,
)
TRANSFORMER = dict(type='TransformerDecoder', embed_dim=16, depth=1, num_heads=2)
LINEAR = dict(type='LinearDecoder')
DROP, MASK, MIX = (
    dict(type=name) for name in ('DropPatches', 'MaskPatches', 'MixImages')
)
DEEP, FUSED = [[0], [1], [2], [3]], [[0, 2, 3]]
PIXELS, LOW = dict(type='PixelTarget'), dict(type='LowPassTarget')
HOG = dict(type='HOGTarget')
OF_ITSELF = dict(type='TeacherTarget', norm=False, normalize=True)
OF_TIMM = dict(
    type='TeacherTarget',
    teacher=dict(type='TimmTeacher', model='test_vit', pretrained=False, project=True),
)


def method(
    backbone: dict,
    corruption: dict,
    target: dict,
    outputs: list = [[-1]],  # noqa: B006
    loss: str = 'MaskedMSE',
    decoder: dict = TRANSFORMER,
    **head: Any,
) -> dict:
    return dict(
        type='MIM',
        backbone=backbone,
        corruption=corruption,
        neck=dict(type='LevelFusion', outputs=outputs),
        head=dict(
            type='MIMHead', target=target, loss=dict(type=loss), decoder=decoder, **head
        ),
    )


UNPREFIXED = dict(PLAIN, class_token=False)
HUBER = 'MaskedSmoothL1'
METHODS: dict[str, dict] = {
    'MAE': method(PLAIN, DROP, PIXELS),
    'PixMIM': method(PLAIN, DROP, LOW),
    'MFF': method(PLAIN, DROP, PIXELS, FUSED),
    'DeepMIM': method(PLAIN, DROP, PIXELS, DEEP),
    'DeepMIM-HOG': method(PLAIN, DROP, HOG, DEEP),
    'DeepMIM-CLIP': method(PLAIN, DROP, OF_TIMM, DEEP, 'MaskedCosine'),
    'DeepMIM, shared decoder': method(PLAIN, DROP, PIXELS, DEEP, shared=True),
    'MixMIM': method(PYRAMID, MIX, PIXELS),
    'dBOT': method(
        dict(PLAIN, drop_path_rate=0.1), DROP, OF_ITSELF, loss=HUBER, score_prefix=True
    ),
    'SimMIM': method(PLAIN, MASK, PIXELS, loss='MaskedL1', decoder=LINEAR),
    'MaskFeat': method(PLAIN, MASK, HOG, decoder=LINEAR),
    'data2vec': method(
        PLAIN,
        MASK,
        dict(OF_ITSELF, layers=[1, 2, 3]),
        loss=HUBER,
        decoder=LINEAR,
    ),
    'dBOT, symmetric': method(
        dict(PLAIN, rel_pos='shared', absolute_pos=False, layer_scale=0.1),
        MASK,
        OF_TIMM,
        loss='MaskedCosine',
        decoder=LINEAR,
    ),
    'MAE-CLIP': method(PLAIN, DROP, OF_TIMM, loss='MaskedCosine'),
    'MFF-PixMIM': method(PLAIN, DROP, LOW, FUSED),
    'DeepMIM-PixMIM': method(PLAIN, DROP, LOW, DEEP),
    'MFF + DeepMIM': method(PLAIN, DROP, PIXELS, [[0], [1], [0, 2, 3]]),
    'DeepMIM + dBOT': method(PLAIN, DROP, OF_ITSELF, DEEP, HUBER, score_prefix=True),
    'dBOT on MixMIM': method(PYRAMID, MIX, OF_ITSELF, loss=HUBER),
    'MFF + DeepMIM + CLIP on MixMIM': method(
        PYRAMID, MIX, OF_TIMM, [[0], [2], [0, 1, 3]], 'MaskedCosine'
    ),
    'mixing with relative positions': method(
        dict(UNPREFIXED, rel_pos='block'), MIX, PIXELS
    ),
    'mixing on a plain ViT': method(UNPREFIXED, MIX, HOG, FUSED),
    'mask tokens on MixMIMViT': method(PYRAMID, MASK, OF_ITSELF, decoder=LINEAR),
    'pixels and HOG': {
        **method(PLAIN, DROP, PIXELS, DEEP),
        'head': [
            method(PLAIN, DROP, PIXELS, DEEP)['head'],
            {**method(PLAIN, DROP, HOG, DEEP)['head'], 'weight': 0.5},
        ],
    },
}
each = pytest.mark.parametrize('cfg', METHODS.values(), ids=METHODS)


def build(cfg: dict) -> MIM:
    torch.manual_seed(0)
    return MODELS.build(deepcopy(cfg)).train()


def batch(cfg: dict) -> tuple[Tensor, Tensor, int]:
    """Images, a mask, and how many patches it hides."""
    kind = cfg['corruption']['type']
    masking = {
        'DropPatches': RandomMasking(0.75),
        'MaskPatches': BlockMasking(0.5, min_patches=2),
        'MixImages': MixedMasking(0.5),
    }[kind]
    mask = masking.sample(torch.tensor([1, 2]), (4, 4))
    return torch.randn(2, 3, 32, 32), mask, masking.num_hidden((4, 4))


@each
def test_trains_every_parameter(cfg: dict) -> None:
    model = build(cfg)
    losses = {k: v for k, v in model.loss(*batch(cfg)).items() if 'loss' in k}
    outputs = cfg['neck']['outputs']
    assert len(losses) == len(outputs) * len(model.heads)
    assert all(v.isfinite() for v in losses.values())
    sum(losses.values()).backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
    moved = [
        n for n, p in model.named_parameters() if p.grad is not None and p.grad.any()
    ]
    assert any(name.startswith('backbone.patch_embed') for name in moved)


@each
def test_is_one_graph(cfg: dict) -> None:
    torch.compiler.reset()
    model = build(cfg).eval()  # without drop path
    data = batch(cfg)
    traced = torch.compile(model.loss, fullgraph=True, backend='eager')
    torch.testing.assert_close(traced(*data), model.loss(*data))


@pytest.fixture
def group(tmp_path: Path) -> Iterator[None]:
    store = dist.FileStore(str(tmp_path / 'store'), 1)
    dist.init_process_group('gloo', store=store, rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@each
def test_distributed_without_unused_parameters(cfg: dict, group: None) -> None:
    model = DistributedDataParallel(build(cfg))
    for _ in range(2):  # DDP complains when the second begins
        images, mask, hidden = batch(cfg)
        losses = model(images, mask, hidden, mode='loss')
        sum(v for k, v in losses.items() if 'loss' in k).backward()


def test_evaluation_of_every_method() -> None:
    for cfg in METHODS.values():
        model = build(cfg).eval()
        records = model.predict(*batch(cfg))
        assert len(records) == 2
        for record in records:
            assert record['losses'].keys() == model.criteria.keys()
            assert all(v.isfinite() for v in record['losses'].values())


def test_a_scored_class_token_is_one_more_target() -> None:
    model = build(METHODS['dBOT']).eval()
    images, mask, hidden = batch(METHODS['dBOT'])
    for record in model.predict(images, mask, hidden):
        assert record['targets']['loss_0'].shape == (1 + hidden, 32)
    features, plan = model.complete(images, mask, hidden)
    found = model.heads[0].predict(features, images, plan)['loss_0']
    assert found.scored[:, 0].all()
    assert torch.equal(found.scored[:, 1:], mask)
