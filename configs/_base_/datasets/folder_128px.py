# A few hundred images of your own, read 20 times an epoch, no labels needed.
# A twentieth of them, chosen by name, is held out to tell whether the model learns.
# --cfg-options data_root=/path/to/images
data_root = None

train_pipeline = [
    dict(type='LoadImage'),
    dict(type='RandomResizedCrop', size=128, scale=(0.2, 1.0), interpolation='bicubic'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackInputs'),
]
test_pipeline = [
    dict(type='LoadImage'),
    dict(type='Resize', size=146, interpolation='bicubic'),
    dict(type='CenterCrop', size=128),
    dict(type='PackInputs'),
]

train_dataloader = dict(
    batch_size=64,
    num_workers=1,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type='EpochSampler', shuffle=True),
    collate_fn=dict(type='collate_readable'),
    dataset=dict(
        type='RepeatDataset',
        times=20,
        dataset=dict(
            type='HeldOutSplit',
            split='train',
            dataset=dict(
                type='ImageFolder', data_root='{data_root}', pipeline=train_pipeline
            ),
        ),
    ),
)
val_dataloader = dict(
    batch_size=64,
    num_workers=1,
    sampler=dict(type='EpochSampler', shuffle=False, round_up=False),
    collate_fn=dict(type='collate_readable'),
    dataset=dict(
        type='HeldOutSplit',
        split='val',
        dataset=dict(
            type='ImageFolder',
            data_root='{data_root}',
            test_mode=True,
            pipeline=test_pipeline,
        ),
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
