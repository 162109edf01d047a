# MFF (2308.00261), ViT-micro, CIFAR-10, 150,000 images seen
#   python tools/train.py configs/cifar10/mff_vit-micro-p4_1xb128-coslr-6e_cifar10-50percent.py \
#       --cfg-options data_root=/path/to/cifar10
# Hardware: 1 CPU core, minutes: docs/zoo.md. Expected: its tables (tools/run_zoo.py).
# The same as MAE but for the levels that the decoder gets.
_base_ = './mae_vit-micro-p4_1xb128-coslr-6e_cifar10-50percent.py'

model = dict(type='MFF', neck=dict(outputs=[[0, 2, 4, 5]]))

default_hooks = dict(fusion=dict(type='FusionWeightsHook'))
