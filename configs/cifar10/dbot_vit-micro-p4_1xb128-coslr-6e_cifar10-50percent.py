# dBOT (2209.03917), two stages, ViT-micro, CIFAR-10, 150,000 images seen
#   python tools/train.py configs/cifar10/dbot_vit-micro-p4_1xb128-coslr-6e_cifar10-50percent.py \
#       --cfg-options data_root=/path/to/cifar10
# Hardware: 1 CPU core, minutes: docs/zoo.md. Expected: its tables (tools/run_zoo.py).
_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/datasets/cifar10_pretrain_half.py',
]

model = dict(
    type='DBOT',
    backbone=dict(type='MIMViT', arch='micro', img_size=32, patch_size=4),
    corruption=dict(type='DropPatches'),
    neck=dict(type='LevelFusion', outputs=[[-1]]),
    head=dict(
        type='MIMHead',
        target=dict(type='TeacherTarget', norm=False, normalize=True),
        decoder=dict(type='TransformerDecoder', embed_dim=64, depth=1, num_heads=4),
        loss=dict(type='MaskedSmoothL1', beta=2.0),
        score_prefix=True,
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
    dict(
        type='StagedCosineLR', warmup=0.25, boundaries=[3], convert_to_iter_based=True
    ),
]
default_hooks = dict(staging=dict(type='BootstrapHook', boundaries=[3]))
train_cfg = dict(type='EpochTrainLoop', max_epochs=6, val_interval=1)
auto_scale_lr = dict(base_batch_size=128)
