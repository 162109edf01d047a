"""One encoder: the same numbers in pre-training, classifier, detector and segmenter."""

import pytest
import torch
from mmengine.registry import MODELS, DefaultScope
from torch import Tensor, nn

ARCH = dict(embed_dim=16, depth=4, num_heads=2)
ENCODERS = {
    'MIMViT': dict(
        type='mim_zoo.MIMViT', arch=ARCH, img_size=32, patch_size=4, final_norm=True
    ),
    'MixMIMViT': dict(
        type='mim_zoo.MixMIMViT',
        arch=dict(
            embed_dim=8, depths=(1, 1), num_heads=(1, 2), windows=(4, 4), patch_size=2
        ),
        img_size=32,
        final_norm=True,  # a classifier would leave it to its head
    ),
}


def build(scope: str, **model) -> nn.Module:
    with DefaultScope.overwrite_default_scope(scope):
        return MODELS.build(model)


def pretraining(backbone: dict) -> nn.Module:
    plain = 'MixMIM' not in backbone['type']
    return build(
        'mim_zoo',
        type='MAE' if plain else 'MixMIM',
        backbone=backbone,
        corruption=dict(type='DropPatches' if plain else 'MixImages'),
        head=dict(
            type='MIMHead',
            target=dict(type='PixelTarget'),
            decoder=dict(type='TransformerDecoder', embed_dim=16, depth=1, num_heads=2),
            loss=dict(type='MaskedMSE'),
        ),
    )


def detector(backbone: dict) -> nn.Module:
    return build('mmdet', type='RPN', backbone=backbone, neck=None, rpn_head=RPN, **CFG)


RPN = dict(
    type='RPNHead',
    in_channels=16,
    feat_channels=16,
    anchor_generator=dict(
        type='AnchorGenerator', scales=[8], ratios=[1.0], strides=[4]
    ),
    bbox_coder=dict(type='DeltaXYWHBBoxCoder'),
    loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=True),
    loss_bbox=dict(type='L1Loss'),
)
CFG = dict(
    data_preprocessor=dict(type='DetDataPreprocessor'),
    train_cfg=None,
    test_cfg=dict(rpn=dict()),
)


def segmenter(backbone: dict) -> nn.Module:
    return build(
        'mmseg',
        type='EncoderDecoder',
        backbone=backbone,
        decode_head=dict(
            type='FCNHead', in_channels=16, channels=8, num_classes=3, num_convs=1
        ),
    )


def classifier(backbone: dict) -> nn.Module:
    return build('mim_zoo', type='Classifier', backbone=backbone, num_classes=3)


@pytest.mark.parametrize('kind', ENCODERS)
def test_one_file_gives_the_same_features_everywhere(kind: str, tmp_path) -> None:
    encoder = ENCODERS[kind]
    source = pretraining(dict(encoder)).eval()
    with torch.no_grad():
        for parameter in source.backbone.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    path = tmp_path / 'pretrained.pth'
    torch.save({'state_dict': source.state_dict()}, path)
    init = dict(type='Pretrained', checkpoint=str(path), prefix='backbone.')
    images = torch.randn(2, 3, 32, 32)
    expected = source.backbone(images)[0]
    for make in (classifier, detector, segmenter):
        model = make({**encoder, 'init_cfg': init})
        model.init_weights()
        model.eval()
        assert torch.equal(model.backbone(images)[0], expected)
        if make is not classifier:
            found: Tensor = model.extract_feat(images)[0]
            assert torch.equal(found, expected)


@pytest.mark.parametrize('size', [(32, 32), (48, 40)])
def test_a_windowed_encoder_agrees_with_a_global_one_on_one_window(size) -> None:
    plain = dict(ENCODERS['MIMViT'], class_token=False)
    source = build('mim_zoo', **plain).eval()
    windowed = build('mmdet', **plain, window=12, rel_pos='decomposed').eval()
    windowed.load_state_dict(source.state_dict(), strict=False)
    images = torch.randn(1, 3, *size)
    torch.testing.assert_close(windowed(images)[0], source(images)[0])
