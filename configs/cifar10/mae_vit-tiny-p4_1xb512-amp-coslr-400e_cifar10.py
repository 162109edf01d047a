# MAE, ViT-tiny, CIFAR-10, 400 epochs
#   python tools/train.py configs/cifar10/mae_vit-tiny-p4_1xb512-amp-coslr-400e_cifar10.py \
#       --cfg-options data_root=/path/to/cifar10
# Hardware: one GPU; hours: not measured. Expected: no number yet.
_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/datasets/cifar10_pretrain.py',
]

model = dict(
    type='MAE',
    backbone=dict(type='MIMViT', arch='tiny', img_size=32, patch_size=4),
    corruption=dict(type='DropPatches'),
    neck=dict(type='LevelFusion', outputs=[[-1]]),
    head=dict(
        type='MIMHead',
        target=dict(type='PixelTarget', normalize=True),
        decoder=dict(type='TransformerDecoder', embed_dim=192, depth=4, num_heads=3),
        loss=dict(type='MaskedMSE'),
    ),
    data_preprocessor=dict(
        type='MIMDataPreprocessor',
        batch_transforms=[dict(type='RandomMasking', ratio=0.75)],
    ),
)

train_dataloader = dict(batch_size=512, num_workers=12)
optim_wrapper = dict(
    type='AmpOptimWrapper',
    dtype='bfloat16',
    optimizer=dict(type='AdamW', lr=1.5e-3, betas=(0.9, 0.95), weight_decay=0.05),
    constructor='LayerDecayConstructor',
)
param_scheduler = [
    dict(
        type='LinearLR', start_factor=1e-6, begin=0, end=20, convert_to_iter_based=True
    ),
    dict(type='CosineAnnealingLR', eta_min=0.0, begin=20, convert_to_iter_based=True),
]
train_cfg = dict(type='EpochTrainLoop', max_epochs=400, val_interval=50)
auto_scale_lr = dict(base_batch_size=512)
default_hooks = dict(checkpoint=dict(interval=20))
