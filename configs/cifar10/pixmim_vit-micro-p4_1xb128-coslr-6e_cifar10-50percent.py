# PixMIM (2303.02416), ViT-micro, CIFAR-10, 150,000 images seen
#   python tools/train.py configs/cifar10/pixmim_vit-micro-p4_1xb128-coslr-6e_cifar10-50percent.py \
#       --cfg-options data_root=/path/to/cifar10
# Hardware: 1 CPU core, minutes: docs/zoo.md. Expected: its tables (tools/run_zoo.py).
# The same as MAE but for the target and the crop, which has nothing to resize here: a
# border of 4 px is reflected and 32 px are cut out.
_base_ = './mae_vit-micro-p4_1xb128-coslr-6e_cifar10-50percent.py'

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
train_dataloader = dict(dataset=dict(dataset=dict(pipeline=train_pipeline)))
