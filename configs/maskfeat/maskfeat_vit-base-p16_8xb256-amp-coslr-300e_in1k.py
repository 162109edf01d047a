# MaskFeat (2112.09133), ViT-B/16, 300 epochs on ImageNet, as a baseline
#   tools/dist_train.sh configs/maskfeat/maskfeat_vit-base-p16_8xb256-amp-coslr-300e_in1k.py 8
# Hardware: 8 GPUs, with another number add --auto-scale-lr; memory: not measured by us;
# hours: not published.
# Expected: 83.4 top-1 fine-tuned (mmpretrain).
_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/datasets/imagenet_pretrain.py',
]

model = dict(
    type='MIM',
    backbone=dict(type='MIMViT', arch='base', img_size=224, learned_pos=True),
    corruption=dict(type='MaskPatches'),
    neck=dict(type='LevelFusion', outputs=[[-1]]),
    head=dict(
        type='MIMHead',
        target=dict(type='HOGTarget'),
        decoder=dict(type='LinearDecoder'),
        loss=dict(type='MaskedMSE'),
    ),
    data_preprocessor=dict(
        type='MIMDataPreprocessor',
        batch_transforms=[dict(type='BlockMasking', ratio=78 / 196, min_patches=15)],
    ),
)

train_pipeline = [
    dict(type='LoadImage'),
    dict(type='RandomResizedCrop', size=224, scale=(0.5, 1.0), interpolation='bicubic'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackInputs'),
]
train_dataloader = dict(batch_size=256, dataset=dict(pipeline=train_pipeline))

optim_wrapper = dict(
    type='AmpOptimWrapper',
    dtype='bfloat16',
    optimizer=dict(type='AdamW', lr=1.6e-3, betas=(0.9, 0.999), weight_decay=0.05),
    clip_grad=dict(max_norm=0.02),
    constructor='LayerDecayConstructor',
    paramwise_cfg=dict(no_decay_names=('corruption.token',)),
)
param_scheduler = [
    dict(
        type='LinearLR', start_factor=1e-6, begin=0, end=30, convert_to_iter_based=True
    ),
    dict(type='CosineAnnealingLR', eta_min=1e-6, begin=30, convert_to_iter_based=True),
]
train_cfg = dict(type='EpochTrainLoop', max_epochs=300, val_interval=20)
auto_scale_lr = dict(base_batch_size=2048)
default_hooks = dict(checkpoint=dict(interval=5, max_keep_ckpts=3))
