# MixMIM, MixMIM-micro, CIFAR-10, 150,000 images seen
#   python tools/train.py configs/cifar10/mixmim_mixmim-micro-w8_1xb128-coslr-6e_cifar10-50percent.py \
#       --cfg-options data_root=/path/to/cifar10
# Hardware: 1 CPU core, minutes: docs/zoo.md. Expected: its tables (tools/run_zoo.py).
_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/datasets/cifar10_pretrain_half.py',
]

model = dict(
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

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=2e-3, betas=(0.9, 0.95), weight_decay=0.05),
    constructor='LayerDecayConstructor',
)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, begin=0, end=100, by_epoch=False),
    dict(type='CosineAnnealingLR', eta_min=0.0, begin=100, by_epoch=False),
]
train_cfg = dict(type='EpochTrainLoop', max_epochs=6, val_interval=1)
auto_scale_lr = dict(base_batch_size=128)
