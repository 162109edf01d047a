# Linear probe of ViT-micro, pre-trained by MAE, on CIFAR-10, 10 epochs
#   python tools/train.py configs/cifar10/vit-micro-p4_1xb128-linear-coslr-10e_cifar10.py \
#       --cfg-options data_root=/path/to/cifar10
# Starts from the last checkpoint of mae_vit-micro-p4_1xb128-coslr-6e_cifar10-50percent;
# another one: model.backbone.init_cfg.checkpoint=FILE; an untrained encoder:
# model.backbone.init_cfg=None
# Hardware: 2 CPU cores, hours: not measured. Expected: no number yet.
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
        init_cfg=dict(
            type='Pretrained',
            checkpoint='work_dirs/mae_vit-micro-p4_1xb128-coslr-6e_cifar10-50percent/epoch_6.pth',
            prefix='backbone.',
        ),
    ),
    num_classes=10,
    pool='avg',
    head_norm='batch',
    freeze_backbone=True,
    head_init_std=0.01,
    data_preprocessor=dict(type='MIMDataPreprocessor'),
)

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-2, weight_decay=0.0),
    constructor='LayerDecayConstructor',
)
param_scheduler = [
    dict(type='CosineAnnealingLR', eta_min=0.0, convert_to_iter_based=True),
]
train_cfg = dict(type='EpochTrainLoop', max_epochs=10, val_interval=5)
auto_scale_lr = dict(base_batch_size=128)
default_hooks = dict(checkpoint=dict(interval=5))
model_wrapper_cfg = dict(type='MMDistributedDataParallel', broadcast_buffers=True)
