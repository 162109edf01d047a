# ImageNet, augmented as PixMIM pre-trains (2303.02416): a crop that keeps most of the
# image, a flip.
_base_ = './imagenet_pretrain.py'

train_pipeline = [
    dict(type='LoadImage'),
    dict(type='SimpleResizedCrop', size=224, padding=4, interpolation='bilinear'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackInputs'),
]

train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
