# MixMIM-micro on CIFAR-10 from random weights, to compare fine-tuning with
#   python tools/train.py configs/cifar10/mixmim-micro-w8_1xb128-scratch-coslr-3e_cifar10.py \
#       --cfg-options data_root=/path/to/cifar10
# Hardware: 1 CPU core, minutes: docs/zoo.md. Expected: its tables (tools/run_zoo.py).
_base_ = './mixmim-micro-w8_1xb128-coslr-3e_cifar10.py'

model = dict(backbone=dict(init_cfg=None))
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=1.0))
