# MAE with CLIP as the target, the baseline of DeepMIM (2303.08817), ViT-B/16, 1600 epochs
#   tools/dist_train.sh configs/deepmim/mae-clip_vit-base-p16_8xb512-amp-coslr-1600e_in1k.py 8
# Hardware: 8 GPUs, with another number add --auto-scale-lr; memory: not measured by us;
# hours: not published.
# Expected: 84.8 top-1 fine-tuned (paper).
# CLIP's weights come from timm's hub; a local file is named by
# model.head.target.teacher.checkpoint=FILE.
_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/datasets/imagenet_pretrain.py',
    '../_base_/schedules/imagenet_mae.py',
]

model = dict(
    type='MIM',
    backbone=dict(type='MIMViT', arch='base', img_size=224),
    corruption=dict(type='DropPatches'),
    neck=dict(type='LevelFusion', outputs=[[-1]]),
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
        decoder=dict(type='TransformerDecoder', embed_dim=512, depth=8, num_heads=16),
        loss=dict(type='MaskedCosine'),
    ),
    data_preprocessor=dict(
        type='MIMDataPreprocessor',
        batch_transforms=[dict(type='RandomMasking', ratio=0.75)],
    ),
)

train_cfg = dict(max_epochs=1600)

default_hooks = dict(checkpoint=dict(interval=5, max_keep_ckpts=3))
