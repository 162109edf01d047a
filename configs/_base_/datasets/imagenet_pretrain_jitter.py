# ImageNet, augmented as BEiT (2106.08254) and dBOT with CLIP (2209.03917) pre-train:
# colours, a flip, a crop.
_base_ = './imagenet_pretrain.py'

train_pipeline = [
    dict(type='LoadImage'),
    dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.4),
    dict(type='RandomFlip', prob=0.5),
    dict(type='RandomResizedCrop', size=224, scale=(0.4, 1.0), interpolation='bicubic'),
    dict(type='PackInputs'),
]

train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
