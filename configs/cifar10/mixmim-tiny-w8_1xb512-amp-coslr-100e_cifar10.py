# Fine-tuning MixMIM-tiny on CIFAR-10, 100 epochs, with the same values as ViT-tiny
#   python tools/train.py configs/cifar10/mixmim-tiny-w8_1xb512-amp-coslr-100e_cifar10.py \
#       --cfg-options data_root=/path/to/cifar10
# Starts from the last checkpoint of mixmim_mixmim-tiny-w8_1xb512-amp-coslr-400e_cifar10;
# another one: model.backbone.init_cfg.checkpoint=FILE
# Hardware: one GPU. Expected: no number yet.
_base_ = './vit-tiny-p4_1xb512-amp-coslr-100e_cifar10.py'

model = dict(
    _delete_=True,
    type='Classifier',
    backbone=dict(
        type='MixMIMViT',
        arch='tiny',
        img_size=32,
        drop_path_rate=0.1,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='work_dirs/mixmim_mixmim-tiny-w8_1xb512-amp-coslr-400e_cifar10/epoch_400.pth',
            prefix='backbone.',
        ),
    ),
    num_classes=10,
    pool='avg',
    head_norm=None,
    label_smoothing=0.1,
    data_preprocessor=dict(type='MIMDataPreprocessor'),
)
optim_wrapper = dict(paramwise_cfg=dict(_delete_=True, layer_decay_rate=0.75))
