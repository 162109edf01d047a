# DeepMIM (2303.08817) on HOG, ViT-tiny, CIFAR-10, 400 epochs
#   python tools/train.py configs/cifar10/deepmim-hog_vit-tiny-p4_1xb512-amp-coslr-400e_cifar10.py \
#       --cfg-options data_root=/path/to/cifar10
# Hardware: one GPU; hours: not measured. Expected: no number yet.
_base_ = './mae_vit-tiny-p4_1xb512-amp-coslr-400e_cifar10.py'

model = dict(
    type='DeepMIM',
    neck=dict(outputs=[[5], [7], [9], [11]]),
    head=dict(
        target=dict(_delete_=True, type='HOGTarget', cells=1), decoder=dict(depth=2)
    ),
)
