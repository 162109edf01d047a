# dBOT (2209.03917), three stages, ViT-B/16, 1600 epochs on ImageNet
#   tools/dist_train.sh configs/dbot/dbot-3stage_vit-base-p16_8xb512-amp-coslr-1600e_in1k.py 8
# Hardware: 8 GPUs, with another number add --auto-scale-lr; memory: not measured by us;
# hours: not published.
# Expected: no number known to us. Three stages are best for detection and
# segmentation, say reviews of the paper; where they begin is not known to us: here they are equally long.
_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/datasets/imagenet_pretrain.py',
    '../_base_/schedules/imagenet_mae.py',
]

model = dict(
    type='DBOT',
    backbone=dict(type='MIMViT', arch='base', img_size=224, drop_path_rate=0.2),
    corruption=dict(type='DropPatches'),
    neck=dict(type='LevelFusion', outputs=[[-1]]),
    head=dict(
        type='MIMHead',
        target=dict(type='TeacherTarget', norm=False, normalize=True),
        decoder=dict(
            type='TransformerDecoder',
            embed_dim=512,
            depth=8,
            num_heads=16,
            drop_path_rate=0.2,
        ),
        loss=dict(type='MaskedSmoothL1', beta=2.0),
        score_prefix=True,
    ),
    data_preprocessor=dict(
        type='MIMDataPreprocessor',
        batch_transforms=[dict(type='RandomMasking', ratio=0.75)],
    ),
)

optim_wrapper = dict(clip_grad=dict(max_norm=3.0))
param_scheduler = [
    dict(
        type='StagedCosineLR',
        warmup=40,
        boundaries=[533, 1066],
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(max_epochs=1600)

default_hooks = dict(
    staging=dict(type='BootstrapHook', boundaries=[533, 1066]),
    checkpoint=dict(interval=5, max_keep_ckpts=3),
)
