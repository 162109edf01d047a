# Linear probe of MixMIM-B on ImageNet: frozen encoder, one linear layer, 90 epochs
#   tools/dist_train.sh configs/imagenet/mixmim-base-w14_8xb512-linear-amp-coslr-90e_in1k.py 8 \
#       --cfg-options model.backbone.init_cfg.checkpoint=PRE_TRAINED.pth
# Batch 16,384 = GPUs x batch_size x accumulative_counts (8 x 512 x 4 here).
# Hours: not published.
# Expected: no published number and no published recipe: this is MAE's (2111.06377) on the
# mean of the patches, for there is no class token.
_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/datasets/imagenet_linear.py',
    '../_base_/schedules/imagenet_linear.py',
]

model = dict(
    type='Classifier',
    backbone=dict(
        type='MixMIMViT',
        arch='base',
        img_size=224,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='work_dirs/mixmim_mixmim-base-w14_16xb128-amp-coslr-600e_in1k/epoch_600.pth',
            prefix='backbone.',
        ),
    ),
    num_classes=1000,
    pool='avg',
    head_norm='batch',
    freeze_backbone=True,
    head_init_std=0.01,
    data_preprocessor=dict(type='MIMDataPreprocessor'),
)

default_hooks = dict(checkpoint=dict(interval=5))
