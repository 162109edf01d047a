# dBOT (2209.03917), one stage with a larger teacher, ViT-B/16, 800 epochs on ImageNet
#   tools/dist_train.sh configs/dbot/dbot-large-teacher_vit-base-p16_8xb512-amp-coslr-800e_in1k.py 8
# Hardware: 8 GPUs, with another number add --auto-scale-lr; memory: not measured by us;
# hours: not published.
# Expected: 84.6 top-1 fine-tuned, 53.1 box AP, 50.1 mIoU (official repository), whose
# code cannot run it: the recipe is not published, this is the second stage of ViT-B.
# The teacher is a ViT-L that dBOT has trained; checkpoint names its file.
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
        target=dict(
            type='TeacherTarget',
            teacher=dict(
                type='EncoderTeacher',
                encoder=dict(type='MIMViT', arch='large', img_size=224),
                checkpoint='work_dirs/dbot_vit-large-p16_8xb512-amp-coslr-1600e_in1k/epoch_1600.pth',
            ),
            norm=False,
            normalize=True,
        ),
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
train_cfg = dict(max_epochs=800)

default_hooks = dict(
    checkpoint=dict(interval=5, max_keep_ckpts=3),
)
