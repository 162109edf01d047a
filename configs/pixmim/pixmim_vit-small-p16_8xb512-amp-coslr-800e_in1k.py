# PixMIM (2303.02416), ViT-S/16, 800 epochs on ImageNet
#   tools/dist_train.sh configs/pixmim/pixmim_vit-small-p16_8xb512-amp-coslr-800e_in1k.py 8
# Hardware: 8 GPUs, with another number add --auto-scale-lr; memory and hours: not
# measured by us.
# Expected: no number known to us. No recipe for it is published: this is that of ViT-B.
_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/datasets/imagenet_pretrain_src.py',
    '../_base_/schedules/imagenet_mae.py',
]

model = dict(
    type='PixMIM',
    backbone=dict(type='MIMViT', arch='small', img_size=224),
    corruption=dict(type='DropPatches'),
    neck=dict(type='LevelFusion', outputs=[[-1]]),
    head=dict(
        type='MIMHead',
        target=dict(type='LowPassTarget', radius=40, normalize=True),
        decoder=dict(type='TransformerDecoder', embed_dim=512, depth=8, num_heads=16),
        loss=dict(type='MaskedMSE'),
    ),
    data_preprocessor=dict(
        type='MIMDataPreprocessor',
        batch_transforms=[dict(type='RandomMasking', ratio=0.75)],
    ),
)

default_hooks = dict(checkpoint=dict(interval=5, max_keep_ckpts=3))
