# SimMIM (2111.09886), ViT-B/16, 800 epochs on ImageNet, as a baseline
#   NNODES=2 NODE_RANK=0 MASTER_ADDR=10.0.0.1 tools/dist_train.sh configs/simmim/simmim_vit-base-p16_16xb128-amp-step-800e_in1k.py 8
# Hardware: 16 GPUs, batch 2048 (dist_train.sh says how to use several machines); with
# another number add --auto-scale-lr; memory: not measured by us; hours: not published.
# Expected: not known for this encoder; officially 83.8 top-1 fine-tuned, with relative
# positions and LayerScale. The recipe is the official one.
_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/datasets/imagenet_pretrain.py',
]

model = dict(
    type='MIM',
    backbone=dict(type='MIMViT', arch='base', img_size=224, drop_path_rate=0.1),
    corruption=dict(type='MaskPatches'),
    neck=dict(type='LevelFusion', outputs=[[-1]]),
    head=dict(
        type='MIMHead',
        target=dict(type='PixelTarget', normalize=False),
        decoder=dict(type='LinearDecoder'),
        loss=dict(type='MaskedL1'),
    ),
    data_preprocessor=dict(
        type='MIMDataPreprocessor',
        batch_transforms=[dict(type='RandomMasking', ratio=0.6, cell=2)],
    ),
)

train_pipeline = [
    dict(type='LoadImage'),
    dict(
        type='RandomResizedCrop', size=224, scale=(0.67, 1.0), interpolation='bilinear'
    ),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackInputs'),
]
train_dataloader = dict(batch_size=128, dataset=dict(pipeline=train_pipeline))

optim_wrapper = dict(
    type='AmpOptimWrapper',
    dtype='bfloat16',
    optimizer=dict(type='AdamW', lr=4e-4, betas=(0.9, 0.999), weight_decay=0.05),
    clip_grad=dict(max_norm=5.0),
    constructor='LayerDecayConstructor',
    paramwise_cfg=dict(no_decay_names=('cls_token',)),
)
param_scheduler = [
    dict(
        type='LinearLR', start_factor=5e-3, begin=0, end=10, convert_to_iter_based=True
    ),
    dict(
        type='MultiStepLR',
        milestones=[690],  # epoch 700: MMEngine counts from the end of the warm-up
        gamma=0.1,
        begin=10,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(type='EpochTrainLoop', max_epochs=800, val_interval=20)
auto_scale_lr = dict(base_batch_size=2048)
default_hooks = dict(checkpoint=dict(interval=5, max_keep_ckpts=3))
