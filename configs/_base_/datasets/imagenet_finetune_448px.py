# ImageNet with labels for fine-tuning at 448 px. Evaluation takes the whole short side,
# which is MAE's rule for images above 224 px (2111.06377).
_base_ = './imagenet_finetune.py'

train_pipeline = [
    dict(type='LoadImage'),
    dict(
        type='RandomResizedCrop', size=448, scale=(0.08, 1.0), interpolation='bicubic'
    ),
    dict(type='RandomFlip', prob=0.5),
    dict(type='RandAugment', policy='rand-m9-mstd0.5-inc1', interpolation='bicubic'),
    dict(type='PackInputs'),
]
test_pipeline = [
    dict(type='LoadImage'),
    dict(type='Resize', size=448, interpolation='bicubic'),
    dict(type='CenterCrop', size=448),
    dict(type='PackInputs'),
]

train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
