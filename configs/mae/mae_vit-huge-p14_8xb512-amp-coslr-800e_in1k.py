# MAE, ViT-H/14, 800 epochs on ImageNet
#   tools/dist_train.sh configs/mae/mae_vit-huge-p14_8xb512-amp-coslr-800e_in1k.py 8
# Hardware: 8 GPUs, with another number add --auto-scale-lr; memory: not measured by us;
# hours: not published for this size.
# Expected top-1: not published for 800 epochs.
_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/datasets/imagenet_pretrain.py',
    '../_base_/schedules/imagenet_mae.py',
]

model = dict(
    type='MAE',
    backbone=dict(type='MIMViT', arch='huge', img_size=224),
    corruption=dict(type='DropPatches'),
    neck=dict(type='LevelFusion', outputs=[[-1]]),
    head=dict(
        type='MIMHead',
        target=dict(type='PixelTarget', normalize=True),
        decoder=dict(type='TransformerDecoder', embed_dim=512, depth=8, num_heads=16),
        loss=dict(type='MaskedMSE'),
    ),
    data_preprocessor=dict(
        type='MIMDataPreprocessor',
        batch_transforms=[dict(type='RandomMasking', ratio=0.75)],
    ),
)

default_hooks = dict(checkpoint=dict(interval=5, max_keep_ckpts=3))
