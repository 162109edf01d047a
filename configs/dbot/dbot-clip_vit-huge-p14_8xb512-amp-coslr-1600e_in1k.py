# dBOT, the symmetric variant (2209.03917): CLIP teaches ViT-H/14, 1600 epochs on ImageNet
#   tools/dist_train.sh configs/dbot/dbot-clip_vit-huge-p14_8xb512-amp-coslr-1600e_in1k.py 8
# Hardware: 8 GPUs, batch 4096, with another number add --auto-scale-lr; memory: not
# measured by us; hours: not published.
# Expected: 88.5 top-1 fine-tuned (official repository).
# CLIP's weights come from timm's hub; a local file is named by
# model.head.target.teacher.checkpoint=FILE.
_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/datasets/imagenet_pretrain_jitter.py',
    '../_base_/schedules/imagenet_dbot_clip.py',
]

model = dict(
    type='DBOT',
    backbone=dict(
        type='MIMViT',
        arch='huge',
        img_size=224,
        drop_path_rate=0.1,
        rel_pos='shared',
        absolute_pos=False,
        layer_scale=0.1,
    ),
    corruption=dict(type='MaskPatches'),
    neck=dict(type='LevelFusion', outputs=[[-1]]),
    head=dict(
        type='MIMHead',
        target=dict(
            type='TeacherTarget',
            teacher=dict(
                type='TimmTeacher',
                model='vit_large_patch14_clip_quickgelu_224.openai',
                project=True,
            ),
        ),
        decoder=dict(type='LinearDecoder'),
        loss=dict(type='MaskedCosine'),
        weight=0.5,  # 1 - cos
    ),
    data_preprocessor=dict(
        type='MIMDataPreprocessor',
        batch_transforms=[dict(type='BlockMasking', ratio=78 / 256)],
    ),
)

default_hooks = dict(checkpoint=dict(interval=5, max_keep_ckpts=3))
