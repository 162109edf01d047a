# MAE, ViT-micro/8, on a few hundred images of your own
#   python tools/train.py configs/folder/mae_vit-micro-p8_1xb64-coslr-8e_folder-128px.py \
#       --cfg-options data_root=/path/to/images
# Hardware: 1 of 2 CPU cores, 12 min 19 s on CamVid's 367 images beside other runs.
# What configs/nuclei and configs/camvid start from.
# Expected: no number of ours for your images; the held-out explained share rises.
_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/datasets/folder_128px.py',
]

model = dict(
    type='MAE',
    backbone=dict(type='MIMViT', arch='micro', img_size=128, patch_size=8),
    corruption=dict(type='DropPatches'),
    neck=dict(type='LevelFusion', outputs=[[-1]]),
    head=dict(
        type='MIMHead',
        target=dict(type='PixelTarget', normalize=True),
        decoder=dict(type='TransformerDecoder', embed_dim=64, depth=1, num_heads=4),
        loss=dict(type='MaskedMSE'),
    ),
    data_preprocessor=dict(
        type='MIMDataPreprocessor',
        batch_transforms=[dict(type='RandomMasking', ratio=0.75)],
    ),
)

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=2e-3, betas=(0.9, 0.95), weight_decay=0.05),
    constructor='LayerDecayConstructor',
)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, begin=0, end=100, by_epoch=False),
    dict(type='CosineAnnealingLR', eta_min=0.0, begin=100, by_epoch=False),
]
train_cfg = dict(type='EpochTrainLoop', max_epochs=8, val_interval=4)
auto_scale_lr = dict(base_batch_size=64)
