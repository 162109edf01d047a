# ImageNet with labels, augmented as MAE fine-tunes (2111.06377); random erasing, Mixup
# and CutMix follow on the device, see BatchAugment in the model.
data_root = 'data/imagenet'

train_pipeline = [
    dict(type='LoadImage'),
    dict(
        type='RandomResizedCrop', size=224, scale=(0.08, 1.0), interpolation='bicubic'
    ),
    dict(type='RandomFlip', prob=0.5),
    dict(type='RandAugment', policy='rand-m9-mstd0.5-inc1', interpolation='bicubic'),
    dict(type='PackInputs'),
]
test_pipeline = [
    dict(type='LoadImage'),
    dict(type='Resize', size=256, interpolation='bicubic'),
    dict(type='CenterCrop', size=224),
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
val_dataloader = dict(
    batch_size=256,
    num_workers=8,
    persistent_workers=True,
    pin_memory=True,
    sampler=dict(type='EpochSampler', shuffle=False, round_up=False),
    collate_fn=dict(type='collate_readable'),
    dataset=dict(
        type='ImageFolder',
        data_root='{data_root}/val',
        with_label=True,
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
val_cfg = dict()
val_evaluator = [dict(type='Accuracy', topk=(1, 5))]
test_dataloader = val_dataloader
test_cfg = val_cfg
test_evaluator = val_evaluator
