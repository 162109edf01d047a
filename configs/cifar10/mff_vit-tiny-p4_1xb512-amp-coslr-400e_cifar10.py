# MFF (2308.00261), ViT-tiny, CIFAR-10, 400 epochs
#   python tools/train.py configs/cifar10/mff_vit-tiny-p4_1xb512-amp-coslr-400e_cifar10.py \
#       --cfg-options data_root=/path/to/cifar10
# Hardware: one GPU; hours: not measured. Expected: no number yet.
# The same as MAE but for the levels that the decoder gets.
_base_ = './mae_vit-tiny-p4_1xb512-amp-coslr-400e_cifar10.py'

model = dict(type='MFF', neck=dict(outputs=[[0, 2, 4, 6, 8, 11]]))

default_hooks = dict(fusion=dict(type='FusionWeightsHook'))
