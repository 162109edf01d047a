# MFF (2308.00261), ViT-micro, CIFAR-10, 100,000 images seen
#   python tools/train.py configs/cifar10/mff_vit-micro-p4_1xb128-coslr-2e_cifar10.py \
#       --cfg-options data_root=/path/to/cifar10
# Hardware: 2 CPU cores; not measured yet. Expected: not measured yet.
# The same as MAE but for the levels that the decoder gets.
_base_ = './mae_vit-micro-p4_1xb128-coslr-2e_cifar10.py'

model = dict(type='MFF', neck=dict(outputs=[[0, 2, 4, 5]]))
