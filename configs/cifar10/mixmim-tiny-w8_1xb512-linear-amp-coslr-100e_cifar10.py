# Linear probe of MixMIM-tiny on CIFAR-10, 100 epochs, with the same values as ViT-tiny
#   python tools/train.py configs/cifar10/mixmim-tiny-w8_1xb512-linear-amp-coslr-100e_cifar10.py \
#       --cfg-options data_root=/path/to/cifar10
# Starts from the last checkpoint of mixmim_mixmim-tiny-w8_1xb512-amp-coslr-400e_cifar10;
# another one: model.backbone.init_cfg.checkpoint=FILE; an untrained encoder:
# model.backbone.init_cfg=None
# Hardware: one GPU. Expected: no number yet.
_base_ = './vit-tiny-p4_1xb512-linear-amp-coslr-100e_cifar10.py'

model = dict(
    _delete_=True,
    type='Classifier',
    backbone=dict(
        type='MixMIMViT',
        arch='tiny',
        img_size=32,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='work_dirs/mixmim_mixmim-tiny-w8_1xb512-amp-coslr-400e_cifar10/epoch_400.pth',
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
