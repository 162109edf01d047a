"""Whole models that mix two images: training, records, impossible pairs."""

import pytest
import torch
from mixing import (
    ENCODERS,
    HIERARCHY,
    PLAIN,
    SIZE,
    Build,
    L,
    Masks,
    build_mixing,
)

from mim_zoo.registry import MODELS

LINEAR = dict(type='LinearDecoder')
DECODER = dict(type='TransformerDecoder', embed_dim=16, depth=1, num_heads=2)


@pytest.mark.parametrize('outputs', [[[-1]], [[0, 1, -1]], [[0], [-1]]], ids=str)
@pytest.mark.parametrize(
    'backbone, corruption, decoder',
    [
        (HIERARCHY, 'MixImages', DECODER),
        (HIERARCHY, 'MaskPatches', DECODER),
        (HIERARCHY, 'MaskPatches', LINEAR),
        (dict(HIERARCHY, group_mode='embedding'), 'MixImages', DECODER),
        (dict(HIERARCHY, with_cp=True), 'MixImages', DECODER),
        (PLAIN, 'MixImages', DECODER),
    ],
)
def test_compositions_train(
    build_mim: Build,
    random_mask: Masks,
    head_cfg: dict,
    backbone: dict,
    corruption: str,
    decoder: dict,
    outputs: list,
) -> None:
    model = build_mixing(
        build_mim,
        dict(backbone, in_channels=4),
        corruption=dict(type=corruption),
        neck=dict(type='LevelFusion', outputs=outputs),
        head=dict(head_cfg, decoder=decoder),
        data_preprocessor=dict(type='MIMDataPreprocessor', mean=[0] * 4, std=[1] * 4),
    ).train()
    images, mask = torch.randn(4, 4, *SIZE), random_mask(1, L, 7)
    losses = model.loss(images, mask)
    total = sum(v for k, v in losses.items() if 'loss' in k)
    assert total.isfinite()
    total.backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, f'{name} is not used'
            assert parameter.grad.isfinite().all(), name


@ENCODERS
def test_the_step_is_one_graph(
    build_mim: Build, random_mask: Masks, backbone: dict
) -> None:
    torch.compiler.reset()
    model = build_mixing(build_mim, backbone).train()
    images, mask = torch.randn(4, 3, *SIZE), random_mask(1, L, 7)
    traced = torch.compile(model.loss, fullgraph=True, backend='eager')
    torch.testing.assert_close(traced(images, mask), model.loss(images, mask))


@ENCODERS
def test_the_step_under_bf16(
    build_mim: Build, random_mask: Masks, backbone: dict
) -> None:
    model = build_mixing(build_mim, backbone)
    images, mask = torch.randn(4, 3, *SIZE), random_mask(1, L, 7)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        loss = model.loss(images, mask)['loss_0']
    assert loss.dtype == torch.float32
    loss.backward()
    expected = model.loss(images, mask)['loss_0']
    torch.testing.assert_close(loss, expected, rtol=2e-2, atol=0)


@ENCODERS
def test_the_runner_s_calls(build_mim: Build, backbone: dict) -> None:
    model = build_mixing(build_mim, backbone)
    batch = dict(
        inputs=torch.randint(0, 256, (4, 3, *SIZE), dtype=torch.uint8),
        sample_idx=torch.arange(4),
        img_path=list('abcd'),
    )
    records = model.val_step(dict(batch))
    assert [r['img_path'] for r in records] == list('abcd')
    data = model.data_preprocessor(dict(batch))
    assert data['mask'].shape == (1, L)
    mean = torch.stack([r['losses']['loss_0'] for r in records]).mean()
    torch.testing.assert_close(mean, model(**data, mode='loss')['loss_0'])
    assert records[0]['targets']['loss_0'].shape == (L, 192)


@pytest.mark.parametrize('batch', [4, 5])
def test_records_are_of_their_own_image(
    build_mim: Build, head_cfg: dict, random_mask: Masks, batch: int
) -> None:
    raw = dict(head_cfg, target=dict(type='PixelTarget', normalize=False))
    model = build_mixing(build_mim, HIERARCHY, head=raw)
    images = torch.arange(1.0, batch + 1).view(-1, 1, 1, 1).expand(-1, 3, *SIZE)
    for i, record in enumerate(model.predict(images, random_mask(1, L, 7))):
        assert (record['targets']['loss_0'] == i + 1).all()
        assert record['targets']['loss_0'].shape == (L, 192)  # each patch once


def test_impossible_pairs(build_mim: Build) -> None:
    with pytest.raises(ValueError, match=r'MixImages.*class_token=False'):
        build_mixing(build_mim, dict(PLAIN, class_token=True))
    with pytest.raises(ValueError, match=r'DropPatches.*windows.*MixImages'):
        build_mim(backbone=HIERARCHY)
    embedding = dict(HIERARCHY, group_mode='embedding')
    with pytest.raises(ValueError, match=r'MaskPatches.*leave out group_mode'):
        build_mixing(build_mim, embedding, corruption=dict(type='MaskPatches'))
    with pytest.raises(ValueError, match=r'Classifier.*leave out group_mode'):
        MODELS.build(dict(type='Classifier', backbone=embedding, num_classes=2))
    model = build_mixing(build_mim, HIERARCHY)
    images = torch.randn(2, 3, *SIZE)
    with pytest.raises(ValueError, match='got 0 of 15 patches hidden'):
        model.loss(images, torch.zeros(1, L, dtype=torch.bool), num_hidden=0)
    with pytest.raises(ValueError, match=r"no mask; add .*'MixedMasking'"):
        model(images, mode='loss')
    with pytest.raises(ValueError, match=r'LinearDecoder.*MaskPatches'):
        MODELS.build(
            dict(
                type='MixMIM',
                backbone=HIERARCHY,
                corruption=dict(type='MixImages'),
                head=dict(
                    type='MIMHead',
                    target=dict(type='PixelTarget'),
                    loss=dict(type='MaskedMSE'),
                    decoder=LINEAR,
                ),
            )
        )


@pytest.mark.parametrize('size', [(28, 40), (36, 64)])
def test_sizes_that_are_no_multiples(
    build_mim: Build, random_mask: Masks, size: tuple[int, int]
) -> None:
    deep = dict(
        embed_dim=4, depths=(1,) * 4, num_heads=(1,) * 4, windows=(4,) * 4
    )  # 36 x 64 px has as many tokens as 2 x 2 cells of 6 x 6
    model = build_mixing(build_mim, dict(type='MixMIMViT', arch=deep, img_size=64))
    h, w = model.backbone.grid(size)
    with pytest.raises(ValueError, match=rf'{size[0]} x {size[1]} pixels.*of 32'):
        model.complete(torch.randn(2, 3, *size), random_mask(1, h * w, 2))
