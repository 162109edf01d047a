# Fine-tuning ViT-H/14 after dBOT on ImageNet at 448 px, 10 epochs (2209.03917)
#   tools/dist_train.sh configs/imagenet/dbot_vit-huge-p14_8xb128-amp-coslr-10e_in1k-448px.py 8 \
#       --cfg-options model.backbone.init_cfg.checkpoint=FINE_TUNED_AT_224PX.pth
# Hardware: 8 GPUs, batch 1024; whether 128 images fit is not measured: if not,
# train_dataloader.batch_size=16 with optim_wrapper.accumulative_counts=8. Hours: not
# published.
# Expected: 88.0 top-1 (official repository). It starts from the model fine-tuned at 224
# px; the head and the norm before it start anew, officially only the head's weights.
_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/datasets/imagenet_finetune_448px.py',
    '../_base_/schedules/imagenet_finetune.py',
]

model = dict(
    type='Classifier',
    backbone=dict(
        type='MIMViT',
        arch='huge',
        img_size=448,
        drop_path_rate=0.4,
        learned_pos=True,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='work_dirs/dbot_vit-huge-p14_8xb128-amp-coslr-50e_in1k/epoch_50.pth',
            prefix='backbone.',
        ),
    ),
    num_classes=1000,
    pool='avg',
    head_norm='layer',
    head_init_std=0.01,
    augment=dict(
        type='BatchAugment', mixup=0.8, cutmix=1.0, label_smoothing=0.1, erase=0.25
    ),
    data_preprocessor=dict(type='MIMDataPreprocessor'),
)

optim_wrapper = dict(
    optimizer=dict(lr=2.8e-4),  # 7e-5 x 1024 / 256
    paramwise_cfg=dict(layer_decay_rate=0.9),
)
_base_.param_scheduler[0].end = 2
_base_.param_scheduler[1].begin = 2
_base_.param_scheduler[1].eta_min_ratio = 1e-6 / 2.8e-4
train_cfg = dict(max_epochs=10)
default_hooks = dict(checkpoint=dict(interval=1, save_best='accuracy/top1'))
