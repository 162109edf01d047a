# data2vec (2202.03555), ViT-B/16, 800 epochs on ImageNet, as a baseline
#   tools/dist_train.sh configs/data2vec/data2vec_vit-base-p16_8xb256-amp-coslr-800e_in1k.py 8
# Hardware: 8 GPUs, with another number add --auto-scale-lr; memory: not measured by us;
# hours: not published.
# Expected: not known for this encoder; the official one has more dropout and other initial
# weights.
_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/datasets/imagenet_pretrain_jitter.py',
]

model = dict(
    type='MIM',
    backbone=dict(
        type='MIMViT',
        arch='base',
        img_size=224,
        drop_path_rate=0.25,
        rel_pos='shared',
        absolute_pos=False,
        layer_scale=1e-4,
    ),
    corruption=dict(type='MaskPatches'),
    neck=dict(type='LevelFusion', outputs=[[-1]]),
    head=dict(
        type='MIMHead',
        target=dict(
            type='TeacherTarget',
            layers=[6, 7, 8, 9, 10, 11],
            norm=False,
            normalize=True,
        ),
        decoder=dict(type='LinearDecoder'),
        loss=dict(type='MaskedSmoothL1', beta=2.0),
    ),
    data_preprocessor=dict(
        type='MIMDataPreprocessor',
        batch_transforms=[dict(type='BlockMasking', ratio=120 / 196, min_patches=16)],
    ),
)

train_dataloader = dict(batch_size=256)
optim_wrapper = dict(
    type='AmpOptimWrapper',
    dtype='bfloat16',
    optimizer=dict(type='AdamW', lr=2e-3, betas=(0.9, 0.999), weight_decay=0.05),
    clip_grad=dict(max_norm=3.0),
    constructor='LayerDecayConstructor',
)
param_scheduler = [
    dict(
        type='LinearLR', start_factor=1e-6, begin=0, end=10, convert_to_iter_based=True
    ),
    dict(type='CosineAnnealingLR', eta_min=1e-5, begin=10, convert_to_iter_based=True),
]
train_cfg = dict(type='EpochTrainLoop', max_epochs=800, val_interval=20)
auto_scale_lr = dict(base_batch_size=2048)
default_hooks = dict(
    staging=dict(type='MomentumTeacherHook', momentum=0.9998),
    checkpoint=dict(interval=5, max_keep_ckpts=3),
)
