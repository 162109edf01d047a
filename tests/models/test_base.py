import pytest
import torch

from mim_zoo.models import MAE, Classifier, FeatureExtractor

ENCODER = dict(
    type='MIMViT',
    arch=dict(embed_dim=16, depth=1, num_heads=2),
    img_size=16,
    patch_size=8,
)
HEAD = dict(
    type='MIMHead',
    target=dict(type='PixelTarget'),
    decoder=dict(type='TransformerDecoder', embed_dim=16, depth=1, num_heads=2),
    loss=dict(type='MaskedMSE'),
)


def test_whole_model_init_cfg_is_reported_and_refused(tmp_path):
    path = str(tmp_path / 'encoder.pth')
    encoder = Classifier(backbone=ENCODER, num_classes=3, head_norm=None)
    torch.save({'state_dict': encoder.state_dict()}, path)
    cfg = dict(type='Pretrained', checkpoint=path)
    other = Classifier(backbone=ENCODER, num_classes=3, head_norm=None, init_cfg=cfg)
    other.init_weights()
    assert torch.equal(other.head.weight, encoder.head.weight)
    with pytest.raises(ValueError, match='%'):
        MAE(
            backbone=dict(ENCODER, arch=dict(embed_dim=16, depth=3, num_heads=2)),
            corruption=dict(type='DropPatches'),
            head=HEAD,
            init_cfg=cfg,
        ).init_weights()


def test_feature_extractor_is_the_encoder_alone():
    model = FeatureExtractor(backbone=ENCODER, pool='cls').eval()
    images = torch.randn(2, 3, 16, 16)
    tokens = model.backbone.forward_features(images)
    assert torch.equal(model(images), tokens[:, 0])
    assert torch.equal(model.extract_feat(images, 'avg'), tokens[:, 1:].mean(1))
    records = model(images, dict(sample_idx=torch.arange(2)), mode='predict')
    assert [int(record['sample_idx']) for record in records] == [0, 1]
    with pytest.raises(ValueError, match='mode'):
        model(images, mode='loss')


@pytest.mark.parametrize('step', ['val_step', 'test_step'])
def test_batch_of_unreadable_images_predicts_nothing(step):
    mae = MAE(backbone=ENCODER, corruption=dict(type='DropPatches'), head=HEAD)
    for model in (mae, Classifier(backbone=ENCODER, num_classes=3)):
        assert getattr(model, step)({}) == []
