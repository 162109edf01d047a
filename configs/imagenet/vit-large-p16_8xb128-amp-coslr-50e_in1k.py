# Fine-tuning ViT-L/16 on ImageNet, all layers, 50 epochs (MAE, 2111.06377)
#   tools/dist_train.sh configs/imagenet/vit-large-p16_8xb128-amp-coslr-50e_in1k.py 8 \
#       --cfg-options model.backbone.init_cfg.checkpoint=PRE_TRAINED.pth
# Hardware: 8 GPUs, batch 1024; hours: 8 h 52 min on 32 V100 (official repository).
# Expected: 85.9 top-1 after 1600 epochs of pre-training (paper), 85.4 after 800 (paper).
_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/datasets/imagenet_finetune.py',
    '../_base_/schedules/imagenet_finetune.py',
]

model = dict(
    type='Classifier',
    backbone=dict(
        type='MIMViT',
        arch='large',
        img_size=224,
        drop_path_rate=0.2,
        learned_pos=True,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='work_dirs/mae_vit-large-p16_8xb512-amp-coslr-800e_in1k/epoch_800.pth',
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

optim_wrapper = dict(
    optimizer=dict(lr=4e-3),  # 1e-3 x 1024 / 256
    paramwise_cfg=dict(layer_decay_rate=0.75),
)
_base_.param_scheduler[1].eta_min_ratio = 1e-6 / 4e-3
train_cfg = dict(max_epochs=50)
default_hooks = dict(checkpoint=dict(interval=5, save_best='accuracy/top1'))
