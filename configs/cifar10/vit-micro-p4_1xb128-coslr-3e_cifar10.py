# Fine-tuning ViT-micro, pre-trained by MAE, on CIFAR-10, 3 epochs
#   python tools/train.py configs/cifar10/vit-micro-p4_1xb128-coslr-3e_cifar10.py \
#       --cfg-options data_root=/path/to/cifar10
# Starts from the last checkpoint of mae_vit-micro-p4_1xb128-coslr-6e_cifar10-50percent;
# another one: model.backbone.init_cfg.checkpoint=FILE
# Hardware: 1 CPU core, minutes: docs/zoo.md. Expected: its tables (tools/run_zoo.py).
_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/datasets/cifar10_labelled.py',
]

model = dict(
    type='Classifier',
    backbone=dict(
        type='MIMViT',
        arch='micro',
        img_size=32,
        patch_size=4,
        learned_pos=True,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='work_dirs/mae_vit-micro-p4_1xb128-coslr-6e_cifar10-50percent/epoch_6.pth',
            prefix='backbone.',
        ),
    ),
    num_classes=10,
    pool='avg',
    head_norm='layer',
    label_smoothing=0.1,
    data_preprocessor=dict(type='MIMDataPreprocessor'),
)

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-3, betas=(0.9, 0.999), weight_decay=0.05),
    constructor='LayerDecayConstructor',
    paramwise_cfg=dict(layer_decay_rate=0.9, no_decay_names=('pos_embed', 'cls_token')),
)
param_scheduler = [
    dict(
        type='LinearLR', start_factor=1e-3, begin=0, end=1, convert_to_iter_based=True
    ),
    dict(
        type='CosineAnnealingLR',
        eta_min_ratio=1e-3,
        begin=1,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(type='EpochTrainLoop', max_epochs=3, val_interval=3)
auto_scale_lr = dict(base_batch_size=128)
default_hooks = dict(checkpoint=dict(interval=1, save_best='accuracy/top1'))
