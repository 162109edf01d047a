# MixMIM-tiny on CIFAR-10 from random weights, to compare fine-tuning with
#   python tools/train.py configs/cifar10/mixmim-tiny-w8_1xb512-amp-scratch-coslr-100e_cifar10.py \
#       --cfg-options data_root=/path/to/cifar10
# Hardware: one GPU. Expected: no number yet.
_base_ = './mixmim-tiny-w8_1xb512-amp-coslr-100e_cifar10.py'

model = dict(backbone=dict(init_cfg=None))
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=1.0))
