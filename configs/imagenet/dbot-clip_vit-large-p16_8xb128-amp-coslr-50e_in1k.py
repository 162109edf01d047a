# Fine-tuning ViT-L/16 after dBOT with CLIP on ImageNet, all layers, 50 epochs (2209.03917)
#   tools/dist_train.sh configs/imagenet/dbot-clip_vit-large-p16_8xb128-amp-coslr-50e_in1k.py 8 \
#       --cfg-options model.backbone.init_cfg.checkpoint=PRE_TRAINED.pth
# Hardware: 8 GPUs, batch 1024; hours: not published.
# Expected: 87.8 top-1 after 1600 epochs of pre-training (official repository). The shared
# table of relative positions becomes one of each block.
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
        rel_pos='block',
        absolute_pos=False,
        layer_scale=0.1,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='work_dirs/dbot-clip_vit-large-p16_8xb512-amp-coslr-1600e_in1k/epoch_1600.pth',
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
    optimizer=dict(lr=1e-4),
    paramwise_cfg=dict(layer_decay_rate=0.8, no_decay_names=('cls_token',)),
)
_base_.param_scheduler[0].end = 5
_base_.param_scheduler[1].begin = 5
_base_.param_scheduler[1].eta_min_ratio = 1e-6 / 1e-4
train_cfg = dict(max_epochs=50)
default_hooks = dict(checkpoint=dict(interval=5, save_best='accuracy/top1'))
