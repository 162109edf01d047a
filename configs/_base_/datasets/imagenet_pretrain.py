# ImageNet without labels, augmented as MAE pre-trains (2111.06377): a crop, a flip.
# Any folder of images, nested or flat, will do in place of train and val.
data_root = 'data/imagenet'

train_pipeline = [
    dict(type='LoadImage'),
    dict(type='RandomResizedCrop', size=224, scale=(0.2, 1.0), interpolation='bicubic'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackInputs'),
]
test_pipeline = [
    dict(type='LoadImage'),
    dict(type='Resize', size=256, interpolation='bicubic'),
    dict(type='CenterCrop', size=224),
    dict(type='PackInputs'),
]

# '{data_root}' is filled in when the data is opened, so that one value moves it all.
train_dataloader = dict(
    batch_size=512,
    num_workers=10,
    persistent_workers=True,
    pin_memory=True,
    drop_last=True,
    sampler=dict(type='EpochSampler', shuffle=True),
    collate_fn=dict(type='collate_readable'),
    dataset=dict(
        type='ImageFolder', data_root='{data_root}/train', pipeline=train_pipeline
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
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
val_cfg = dict()
val_evaluator = []
test_dataloader = val_dataloader
test_cfg = val_cfg
test_evaluator = val_evaluator

custom_hooks = [
    dict(type='ExplainedShareHook'),
    dict(type='ReconstructionHook', num_images=8),
    dict(type='LearningSummaryHook'),
]
