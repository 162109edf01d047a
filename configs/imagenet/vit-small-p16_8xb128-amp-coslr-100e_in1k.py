# Fine-tuning ViT-S/16 on ImageNet, all layers, 100 epochs
#   tools/dist_train.sh configs/imagenet/vit-small-p16_8xb128-amp-coslr-100e_in1k.py 8 \
#       --cfg-options model.backbone.init_cfg.checkpoint=PRE_TRAINED.pth
# Hardware: 8 GPUs, batch 1024; hours: not published for this size.
# Expected: unknown. No recipe is published for this size; this is MAE's (2111.06377) for
# ViT-B unchanged, a place to start from: tune layer_decay_rate and drop_path_rate.
_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/datasets/imagenet_finetune.py',
    '../_base_/schedules/imagenet_finetune.py',
]

model = dict(
    type='Classifier',
    backbone=dict(
        type='MIMViT',
        arch='small',
        img_size=224,
        drop_path_rate=0.1,
        learned_pos=True,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='work_dirs/mff_vit-small-p16_8xb512-amp-coslr-800e_in1k/epoch_800.pth',
            prefix='backbone.',
        ),
    ),
    num_classes=1000,
    pool='avg',
    head_norm='layer',
    head_init_std=2e-5,
    augment=dict(
        type='BatchAugment', mixup=0.8, cutmix=1.0, label_smoothing=0.1, erase=0.25
    ),
    data_preprocessor=dict(type='MIMDataPreprocessor'),
)

default_hooks = dict(checkpoint=dict(interval=5, save_best='accuracy/top1'))
