"""The whole model: records, configs, running, impossible pairs."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from torch import Tensor

from mim_zoo.models import MIM
from mim_zoo.registry import MODELS

Build = Callable[..., MIM]
Masks = Callable[..., Tensor]

LINEAR = dict(type='LinearDecoder')
LOSSES = ['MaskedMSE', 'MaskedL1', 'MaskedSmoothL1', 'MaskedCosine']


@pytest.mark.parametrize('loss', LOSSES)
def test_records_agree_with_the_loss(
    build_mim: Build, random_mask: Masks, head_cfg: dict, loss: str
) -> None:
    model = build_mim(
        neck=dict(type='LevelFusion', outputs=[[1], [2]]),
        head=[head_cfg, dict(head_cfg, loss=dict(type=loss))],
    )
    images, mask = torch.randn(3, 3, 32, 32), random_mask(3, 16, 12)
    samples = dict(sample_idx=torch.tensor([7, 8, 9]), img_path=['a', 'b', 'c'])
    records = model.predict(images, mask, data_samples=samples)
    losses = model.loss(images, mask)
    assert len(records) == 3
    for name, value in losses.items():
        mean = torch.stack([r['losses'][name] for r in records]).mean()
        torch.testing.assert_close(mean, value)
        assert records[0]['targets'][name].shape == (12, 192)
        assert name in model.criteria
    target = model.heads[0].target(images)
    for i, record in enumerate(records):
        assert torch.equal(record['targets']['head0.loss_0'], target[i][mask[i]])
        assert record['img_path'] == 'abc'[i]
        assert int(record['sample_idx']) == 7 + i
        assert not record['losses']['head0.loss_0'].requires_grad


def test_reconstructions_are_what_is_scored(
    build_mim: Build, random_mask: Masks
) -> None:
    model = build_mim(neck=dict(type='LevelFusion', outputs=[[1], [2]]))
    images, mask = torch.randn(2, 3, 32, 32), random_mask(2, 16, 12)
    predictions, plan, target = model.reconstruct(images, mask)
    assert len(predictions) == 2
    assert torch.equal(plan.mask, mask)
    losses = model.loss(images, mask)
    for i, pred in enumerate(predictions):
        error = (pred - target(images)).square().mean(-1)[mask].mean()
        torch.testing.assert_close(losses[f'loss_{i}'], error)
        assert target.invert(pred, images).shape == images.shape


# --- configs ---------------------------------------------------------------------

FULL: dict[str, Any] = dict(
    type='MAE',
    backbone=dict(
        type='MIMViT',
        arch=dict(embed_dim=16, depth=2, num_heads=2),
        img_size=[16, 32],
        patch_size=8,
    ),
    corruption=dict(type='MaskPatches'),
    neck=dict(type='LevelFusion', outputs=[[0], [0, 1]]),
    head=[
        dict(
            type='MIMHead',
            target=dict(type='PixelTarget', normalize=False),
            loss=dict(type='MaskedSmoothL1', beta=1.0),
            decoder=dict(type='TransformerDecoder', embed_dim=8, depth=1, num_heads=1),
        ),
        dict(
            type='MIMHead',
            target=dict(type='PixelTarget'),
            loss=dict(type='MaskedMSE'),
            decoder=dict(type='LinearDecoder'),
            weight=0.1,
        ),
    ],
    data_preprocessor=dict(
        type='MIMDataPreprocessor',
        batch_transforms=[dict(type='RandomMasking', ratio=0.6)],
    ),
)


def test_configs_stay_as_they_are() -> None:
    for cfg in (FULL, Config(dict(model=deepcopy(FULL))).model):
        before = deepcopy(cfg)
        first, second = MODELS.build(cfg), MODELS.build(cfg)
        assert cfg == before
        shapes = [
            {k: v.shape for k, v in m.state_dict().items()} for m in (first, second)
        ]
        assert shapes[0] == shapes[1]


def test_a_value_in_the_config_wins(build_mim: Build) -> None:
    model = build_mim(
        data_preprocessor=dict(
            type='MIMDataPreprocessor',
            stride=16,
            batch_transforms=[dict(type='RandomMasking')],
        )
    )
    assert model.data_preprocessor.stride == 16  # the encoder's is 8


def test_default_preprocessor_fits_rgb() -> None:
    model = MODELS.build({k: v for k, v in FULL.items() if k != 'data_preprocessor'})
    assert model.data_preprocessor.mean.flatten().tolist() == pytest.approx(
        [123.675, 116.28, 103.53]
    )


# --- running ---------------------------------------------------------------------


def test_the_runner_s_calls() -> None:
    torch.manual_seed(0)
    model = MODELS.build(FULL)
    optim = OptimWrapper(torch.optim.AdamW(model.parameters(), lr=1e-2))
    batch = dict(
        inputs=torch.randint(0, 256, (4, 3, 16, 32), dtype=torch.uint8),
        sample_idx=torch.arange(4),
        img_path=list('abcd'),
    )
    logs = [model.train_step(deepcopy(batch), optim) for _ in range(30)]
    assert {'loss', 'head0.loss_0', 'head1.loss_1'} <= logs[0].keys()
    assert logs[-1]['loss'] < 0.9 * logs[0]['loss']
    model.eval()
    first, second = model.val_step(deepcopy(batch)), model.test_step(deepcopy(batch))
    assert [r['img_path'] for r in first] == list('abcd')
    for a, b in zip(first, second):  # the same masks every time
        assert a['losses'] == b['losses']


def test_features(build_mim: Build) -> None:
    model = build_mim()
    images = torch.randn(2, 3, 40, 24)
    features = model.extract_feat(images)
    assert features.shape == (2, 32)
    torch.testing.assert_close(features, model.backbone(images)[0].mean((2, 3)))
    assert torch.equal(model(images), features)
    assert model.extract_feat(images, pool='cls').shape == (2, 32)
    assert not torch.equal(model.extract_feat(images, pool='cls'), features)
    with pytest.raises(ValueError, match="'avg' or 'cls'"):
        model.extract_feat(images, pool='max')
    with pytest.raises(ValueError, match='no class token'):
        build_mim(dict(class_token=False)).extract_feat(images, pool='cls')


# --- impossible pairs ------------------------------------------------------------


def test_dropping_with_a_linear_decoder(build_mim: Build, head_cfg: dict) -> None:
    with pytest.raises(ValueError, match=r'LinearDecoder.*MaskPatches'):
        build_mim(head=dict(head_cfg, decoder=LINEAR))


def test_shared_decoder_of_one_output_is_fine(build_mim: Build, head_cfg: dict) -> None:
    assert len(build_mim(head=dict(head_cfg, shared=True)).head.decoders) == 1


@pytest.mark.parametrize(
    'changes, message',
    [
        (dict(neck=dict(type='LevelFusion', outputs=[[3]])), r'got index 3.*-3\.\.2'),
        (
            dict(data_preprocessor=dict(type='MIMDataPreprocessor', mean=[0], std=[0])),
            'positive',
        ),
        (
            dict(
                backbone=dict(in_channels=4),
                data_preprocessor=dict(type='MIMDataPreprocessor'),
            ),
            'got 3 and 3 numbers, expected 4 each',
        ),
    ],
)
def test_impossible_builds(build_mim: Build, changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_mim(**changes)


def test_missing_masks_and_modes(build_mim: Build) -> None:
    model = build_mim()
    images = torch.randn(2, 3, 32, 32)
    for mode in ('loss', 'predict'):
        with pytest.raises(ValueError, match=r'no mask; add batch_transforms.*Random'):
            model(images, mode=mode)
    with pytest.raises(ValueError, match="got 'train', expected loss"):
        model(images, mode='train')


def test_masks_of_another_size(build_mim: Build, random_mask: Masks) -> None:
    with pytest.raises(ValueError, match=r'16 places.*expected 24.*grid 4 x 6'):
        build_mim().loss(torch.randn(2, 3, 32, 48), random_mask(2, 16, 12))


def test_images_that_are_no_whole_patches(build_mim: Build, random_mask: Masks) -> None:
    with pytest.raises(ValueError, match=r'30 x 32 pixels.*crop or resize'):
        build_mim().loss(torch.randn(2, 3, 30, 32), random_mask(2, 16, 12))
