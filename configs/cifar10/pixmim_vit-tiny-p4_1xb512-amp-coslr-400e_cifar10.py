# PixMIM (2303.02416), ViT-tiny, CIFAR-10, 400 epochs
#   python tools/train.py configs/cifar10/pixmim_vit-tiny-p4_1xb512-amp-coslr-400e_cifar10.py \
#       --cfg-options data_root=/path/to/cifar10
# Hardware: one GPU; hours: not measured. Expected: no number yet.
# The same as MAE but for the target and the crop, which has nothing to resize here: a
# border of 4 px is reflected and 32 px are cut out.
_base_ = './mae_vit-tiny-p4_1xb512-amp-coslr-400e_cifar10.py'

model = dict(
    type='PixMIM',
    head=dict(
        # at 32 px the radius is 5.7
        target=dict(_delete_=True, type='LowPassTarget', radius=40, normalize=True)
    ),
)

train_pipeline = [
    dict(type='LoadImage'),
    dict(type='SimpleResizedCrop', size=32, padding=4),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
