# DeepMIM (2303.08817) with MFF (2308.00261) in its last output, ViT-tiny, CIFAR-10, 400 epochs
#   python tools/train.py configs/cifar10/deepmim-mff_vit-tiny-p4_1xb512-amp-coslr-400e_cifar10.py \
#       --cfg-options data_root=/path/to/cifar10
# Hardware: one GPU; hours: not measured. Expected: no number yet.
_base_ = './mae_vit-tiny-p4_1xb512-amp-coslr-400e_cifar10.py'

model = dict(
    type='DeepMIM',
    neck=dict(outputs=[[5], [7], [9], [0, 2, 4, 6, 8, 11]]),
    head=dict(decoder=dict(depth=2)),  # half of MAE's
)

default_hooks = dict(fusion=dict(type='FusionWeightsHook'))
