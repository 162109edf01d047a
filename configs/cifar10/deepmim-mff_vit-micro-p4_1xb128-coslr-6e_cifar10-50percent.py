# DeepMIM (2303.08817) with MFF (2308.00261) in its last output, ViT-micro, CIFAR-10,
# 150,000 images seen
#   python tools/train.py configs/cifar10/deepmim-mff_vit-micro-p4_1xb128-coslr-6e_cifar10-50percent.py \
#       --cfg-options data_root=/path/to/cifar10
# Hardware: 1 CPU core, minutes: docs/zoo.md. Expected: its tables (tools/run_zoo.py).
_base_ = './deepmim_vit-micro-p4_1xb128-coslr-6e_cifar10-50percent.py'

model = dict(neck=dict(outputs=[[2], [3], [4], [0, 2, 4, 5]]))

default_hooks = dict(fusion=dict(type='FusionWeightsHook'))
