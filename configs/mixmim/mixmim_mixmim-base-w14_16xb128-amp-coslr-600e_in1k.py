# MixMIM (MixMAE, 2205.13137), MixMIM-B, 600 epochs on ImageNet
#   NNODES=2 NODE_RANK=0 MASTER_ADDR=10.0.0.1 tools/dist_train.sh configs/mixmim/mixmim_mixmim-base-w14_16xb128-amp-coslr-600e_in1k.py 8
# Hardware: 16 GPUs, batch 2048 (dist_train.sh says how to use several machines); with
# another number add --auto-scale-lr; memory: not measured by us; hours: not published.
# Expected top-1: 85.1 fine-tuned (official repository).
_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/datasets/imagenet_pretrain.py',
    '../_base_/schedules/imagenet_mixmim.py',
]

model = dict(
    type='MixMIM',
    backbone=dict(type='MixMIMViT', arch='base', img_size=224),
    corruption=dict(type='MixImages'),
    neck=dict(type='LevelFusion', outputs=[[-1]]),
    head=dict(
        type='MIMHead',
        target=dict(type='PixelTarget', normalize=True),
        decoder=dict(
            type='TransformerDecoder',
            embed_dim=512,
            depth=8,
            num_heads=16,
            norm_eps=1e-5,
        ),
        loss=dict(type='MaskedMSE'),
    ),
    data_preprocessor=dict(
        type='MIMDataPreprocessor',
        batch_transforms=[dict(type='MixedMasking', ratio=0.5)],
    ),
)

train_dataloader = dict(batch_size=128)
default_hooks = dict(checkpoint=dict(interval=5, max_keep_ckpts=3))
