# ImageNet with labels, augmented as MAE fine-tunes (2111.06377); random erasing, Mixup
# and CutMix follow on the device, see BatchAugment in the model.
_base_ = './imagenet_val.py'

train_pipeline = [
    dict(type='LoadImage'),
    dict(
        type='RandomResizedCrop', size=224, scale=(0.08, 1.0), interpolation='bicubic'
    ),
    dict(type='RandomFlip', prob=0.5),
    dict(type='RandAugment', policy='rand-m9-mstd0.5-inc1', interpolation='bicubic'),
    dict(type='PackInputs'),
]

train_dataloader = dict(
    batch_size=128,
    num_workers=10,
    persistent_workers=True,
    pin_memory=True,
    drop_last=True,
    sampler=dict(type='EpochSampler', shuffle=True),
    collate_fn=dict(type='collate_readable'),
    dataset=dict(
        type='ImageFolder',
        data_root='{data_root}/train',
        with_label=True,
        pipeline=train_pipeline,
    ),
)
