# MixMIM, three stages of 48 to 192 channels, on a few hundred images of your own
#   python tools/train.py configs/folder/mixmim_mixmim-c48-p4_1xb64-coslr-4e_folder-128px.py \
#       --cfg-options data_root=/path/to/images
# Hardware: 1 of 2 CPU cores, 20 min 7 s on 399 nuclei images beside other runs.
# What configs/nuclei and configs/camvid start from.
# Expected: no number of ours for your images; the held-out explained share rises.
_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/datasets/folder_128px.py',
]

model = dict(
    type='MixMIM',
    backbone=dict(
        type='MixMIMViT',
        arch=dict(
            embed_dim=48,
            depths=(1, 4, 1),
            num_heads=(2, 4, 8),
            windows=(8, 8, 8),
            patch_size=4,
        ),
        img_size=128,
    ),
    corruption=dict(type='MixImages'),
    neck=dict(type='LevelFusion', outputs=[[-1]]),
    head=dict(
        type='MIMHead',
        target=dict(type='PixelTarget'),
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

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-3, betas=(0.9, 0.95), weight_decay=0.05),
    constructor='LayerDecayConstructor',
)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, begin=0, end=100, by_epoch=False),
    dict(type='CosineAnnealingLR', eta_min=0.0, begin=100, by_epoch=False),
]
train_cfg = dict(type='EpochTrainLoop', max_epochs=4, val_interval=4)
auto_scale_lr = dict(base_batch_size=64)
