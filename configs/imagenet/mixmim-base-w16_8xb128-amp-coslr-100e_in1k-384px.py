# Fine-tuning MixMIM-B on ImageNet at 384 px, all layers, 100 epochs (2205.13137)
#   tools/dist_train.sh configs/imagenet/mixmim-base-w16_8xb128-amp-coslr-100e_in1k-384px.py 8 \
#       --cfg-options model.backbone.init_cfg.checkpoint=PRE_TRAINED.pth
# Hardware: 8 GPUs, batch 1024; whether 128 images fit is not measured: if not,
# model.backbone.with_cp=True, or train_dataloader.batch_size=32 with
# optim_wrapper.accumulative_counts=4. Hours: not published.
# Expected: 86.3 top-1 after 600 epochs of pre-training (official repository). Published
# are the windows; not published are the other values, here as at 224 px, and whether
# training started from pre-training (as here) or from the model fine-tuned at 224 px.
# For the latter name its file: the encoder is taken from it, the head starts anew.
# The head learns at the full rate; as officially, at that of the last block, with
# optim_wrapper.paramwise_cfg.head_with_last_block=True (see the schedule).
_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/datasets/imagenet_finetune_384px.py',
    '../_base_/schedules/imagenet_mixmim_finetune.py',
]

model = dict(
    type='Classifier',
    backbone=dict(
        type='MixMIMViT',
        arch='base',
        img_size=384,
        windows=(16, 16, 24, 12),
        drop_path_rate=0.1,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='work_dirs/mixmim_mixmim-base-w14_16xb128-amp-coslr-600e_in1k/epoch_600.pth',
            prefix='backbone.',
        ),
    ),
    num_classes=1000,
    pool='avg',
    head_norm=None,
    head_init_std=2e-5,
    augment=dict(
        type='BatchAugment', mixup=0.8, cutmix=1.0, label_smoothing=0.1, erase=0.25
    ),
    data_preprocessor=dict(type='MIMDataPreprocessor'),
)

default_hooks = dict(checkpoint=dict(interval=5, save_best='accuracy/top1'))
