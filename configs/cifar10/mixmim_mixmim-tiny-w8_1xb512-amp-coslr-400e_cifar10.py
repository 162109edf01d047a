# MixMIM (2205.13137), MixMIM-tiny, CIFAR-10, 400 epochs
#   python tools/train.py configs/cifar10/mixmim_mixmim-tiny-w8_1xb512-amp-coslr-400e_cifar10.py \
#       --cfg-options data_root=/path/to/cifar10
# Hardware: one GPU; hours: not measured. Expected: no number yet.
# Trained with the same values as MAE.
_base_ = './mae_vit-tiny-p4_1xb512-amp-coslr-400e_cifar10.py'

model = dict(
    _delete_=True,
    type='MixMIM',
    backbone=dict(type='MixMIMViT', arch='tiny', img_size=32),
    corruption=dict(type='MixImages'),
    neck=dict(type='LevelFusion', outputs=[[-1]]),
    head=dict(
        type='MIMHead',
        target=dict(type='PixelTarget', normalize=True),
        decoder=dict(
            type='TransformerDecoder',
            embed_dim=192,
            depth=4,
            num_heads=3,
            norm_eps=1e-5,
        ),
        loss=dict(type='MaskedMSE'),
    ),
    data_preprocessor=dict(
        type='MIMDataPreprocessor',
        batch_transforms=[dict(type='MixedMasking', ratio=0.5)],
    ),
)
