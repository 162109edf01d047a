# DeepMIM (2303.08817) with CLIP as the target, ViT-B/16, 300 epochs on ImageNet
#   tools/dist_train.sh configs/deepmim/deepmim-clip_vit-base-p16_8xb512-amp-coslr-300e_in1k.py 8
# Hardware: 8 GPUs, with another number add --auto-scale-lr; memory: not measured by us;
# hours: not published.
# Expected: no number known to us for 300 epochs.
# CLIP's weights come from timm's hub; a local file is named by
# model.head.target.teacher.checkpoint=FILE.
_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/datasets/imagenet_pretrain.py',
    '../_base_/schedules/imagenet_mae.py',
]

model = dict(
    type='DeepMIM',
    backbone=dict(type='MIMViT', arch='base', img_size=224),
    corruption=dict(type='DropPatches'),
    neck=dict(type='LevelFusion', outputs=[[5], [7], [9], [11]]),
    head=dict(
        type='MIMHead',
        target=dict(
            type='TeacherTarget',
            teacher=dict(
                type='TimmTeacher',
                model='vit_base_patch16_clip_quickgelu_224.openai',
                project=True,
            ),
        ),
        decoder=dict(type='TransformerDecoder', embed_dim=512, depth=4, num_heads=16),
        loss=dict(type='MaskedCosine'),
    ),
    data_preprocessor=dict(
        type='MIMDataPreprocessor',
        batch_transforms=[dict(type='RandomMasking', ratio=0.75)],
    ),
)

train_cfg = dict(max_epochs=300)

default_hooks = dict(checkpoint=dict(interval=5, max_keep_ckpts=3))
