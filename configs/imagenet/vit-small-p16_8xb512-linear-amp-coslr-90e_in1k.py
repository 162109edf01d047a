# Linear probe of ViT-S/16 on ImageNet: frozen encoder, one linear layer, 90 epochs
#   tools/dist_train.sh configs/imagenet/vit-small-p16_8xb512-linear-amp-coslr-90e_in1k.py 8 \
#       --cfg-options model.backbone.init_cfg.checkpoint=PRE_TRAINED.pth
# Batch 16,384 = GPUs x batch_size x accumulative_counts (8 x 512 x 4 here).
# Hours: not published for this size.
# Expected: unknown. No recipe is published for this size; this is MAE's for ViT-B.
_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/datasets/imagenet_linear.py',
    '../_base_/schedules/imagenet_linear.py',
]

model = dict(
    type='Classifier',
    backbone=dict(
        type='MIMViT',
        arch='small',
        img_size=224,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='work_dirs/mff_vit-small-p16_8xb512-amp-coslr-800e_in1k/epoch_800.pth',
            prefix='backbone.',
        ),
    ),
    num_classes=1000,
    pool='cls',
    head_norm='batch',
    freeze_backbone=True,
    head_init_std=0.01,
    data_preprocessor=dict(type='MIMDataPreprocessor'),
)

default_hooks = dict(checkpoint=dict(interval=5))
