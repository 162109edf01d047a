# Fine-tuning MixMIM-micro on CIFAR-10, 3 epochs, with the same values as ViT-micro
#   python tools/train.py configs/cifar10/mixmim-micro-w8_1xb128-coslr-3e_cifar10.py \
#       --cfg-options data_root=/path/to/cifar10
# Starts from the last checkpoint of mixmim_mixmim-micro-w8_1xb128-coslr-6e_cifar10-50percent;
# another one: model.backbone.init_cfg.checkpoint=FILE
# Hardware: 1 CPU core, minutes: docs/zoo.md. Expected: its tables (tools/run_zoo.py).
_base_ = './vit-micro-p4_1xb128-coslr-3e_cifar10.py'

model = dict(
    _delete_=True,
    type='Classifier',
    backbone=dict(
        type='MixMIMViT',
        arch='micro',
        img_size=32,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='work_dirs/mixmim_mixmim-micro-w8_1xb128-coslr-6e_cifar10-50percent/epoch_6.pth',
            prefix='backbone.',
        ),
    ),
    num_classes=10,
    pool='avg',
    head_norm=None,
    label_smoothing=0.1,
    data_preprocessor=dict(type='MIMDataPreprocessor'),
)
optim_wrapper = dict(paramwise_cfg=dict(_delete_=True, layer_decay_rate=0.9))
