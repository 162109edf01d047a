# SimMIM (2111.09886), ViT-tiny, CIFAR-10, 400 epochs
#   python tools/train.py configs/cifar10/simmim_vit-tiny-p4_1xb512-amp-coslr-400e_cifar10.py \
#       --cfg-options data_root=/path/to/cifar10
# Hardware: one GPU; hours: not measured. Expected: no number yet.
# The same as MAE but for mask tokens, a linear decoder, raw pixels, and masks.
_base_ = './mae_vit-tiny-p4_1xb512-amp-coslr-400e_cifar10.py'

model = dict(
    type='MIM',
    corruption=dict(type='MaskPatches'),
    head=dict(
        target=dict(normalize=False),
        decoder=dict(_delete_=True, type='LinearDecoder'),
        loss=dict(type='MaskedL1'),
    ),
    data_preprocessor=dict(
        batch_transforms=[dict(type='RandomMasking', ratio=0.6)],
    ),
)
