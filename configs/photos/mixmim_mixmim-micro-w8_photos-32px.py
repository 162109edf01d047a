# MixMIM (2205.13137), MixMIM-micro, on the photographs that scikit-image and
# scikit-learn ship
#   python tools/train.py configs/photos/mixmim_mixmim-micro-w8_photos-32px.py
# Nothing to download. Hardware: 2 CPU cores, 4 min 1 s beside other work.
# Expected (measured, seed 0): held-out explained share 0.484; kNN 0.724, untrained 0.682,
# of which MAE's config says why it says little.
# Trained with the same values as MAE.
_base_ = './mae_vit-micro-p4_photos-32px.py'

model = dict(
    _delete_=True,
    type='MixMIM',
    backbone=dict(type='MixMIMViT', arch='micro', img_size=32),
    corruption=dict(type='MixImages'),
    neck=dict(type='LevelFusion', outputs=[[-1]]),
    head=dict(
        type='MIMHead',
        target=dict(type='PixelTarget', normalize=True),
        decoder=dict(
            type='TransformerDecoder',
            embed_dim=64,
            depth=1,
            num_heads=4,
            norm_eps=1e-5,
        ),
        loss=dict(type='MaskedMSE'),
    ),
    data_preprocessor=dict(
        type='MIMDataPreprocessor',
        batch_transforms=[dict(type='MixedMasking', ratio=0.5)],
    ),
)
