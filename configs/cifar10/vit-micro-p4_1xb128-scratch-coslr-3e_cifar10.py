# ViT-micro on CIFAR-10 from random weights, to compare fine-tuning with
#   python tools/train.py configs/cifar10/vit-micro-p4_1xb128-scratch-coslr-3e_cifar10.py \
#       --cfg-options data_root=/path/to/cifar10
# Hardware: 1 CPU core, minutes: docs/zoo.md. Expected: its tables (tools/run_zoo.py).
_base_ = './vit-micro-p4_1xb128-coslr-3e_cifar10.py'

model = dict(backbone=dict(init_cfg=None))
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=1.0))
