import pytest

from mim_zoo.models import MAE, Classifier

ENCODER = dict(
    type='MIMViT',
    arch=dict(embed_dim=16, depth=1, num_heads=2),
    img_size=16,
    patch_size=8,
)


@pytest.mark.parametrize('step', ['val_step', 'test_step'])
def test_batch_of_unreadable_images_predicts_nothing(step):
    head = dict(
        type='MIMHead',
        target=dict(type='PixelTarget'),
        decoder=dict(type='TransformerDecoder', embed_dim=16, depth=1, num_heads=2),
        loss=dict(type='MaskedMSE'),
    )
    mae = MAE(backbone=ENCODER, corruption=dict(type='DropPatches'), head=head)
    for model in (mae, Classifier(backbone=ENCODER, num_classes=3)):
        assert getattr(model, step)({}) == []
