# SamplePhotos at 32 px for pre-training. Held-out regions, less densely cut than the
# training ones, tell whether it learns; the label of a window is its picture.
train_pipeline = [
    dict(type='RandomResizedCrop', size=32, scale=(0.2, 1.0)),
    dict(type='RandomFlip'),
    dict(type='PackInputs'),
]
test_pipeline = [dict(type='Resize', size=32), dict(type='PackInputs')]

train_dataloader = dict(
    batch_size=128,
    num_workers=0,  # on two cores a worker would take time from the step
    drop_last=True,
    dataset=dict(type='SamplePhotos', split='train', pipeline=train_pipeline),
    sampler=dict(type='EpochSampler', shuffle=True),
    collate_fn=dict(type='collate_readable'),
)
val_dataloader = dict(
    batch_size=256,
    num_workers=0,
    dataset=dict(
        type='SamplePhotos',
        split='val',
        stride=32,
        test_mode=True,
        pipeline=test_pipeline,
    ),
    sampler=dict(type='EpochSampler', shuffle=False, round_up=False),
    collate_fn=dict(type='collate_readable'),
)
test_dataloader = val_dataloader
val_cfg = dict()
test_cfg = dict()
val_evaluator = []
test_evaluator = []

custom_hooks = [
    dict(type='ExplainedShareHook'),
    dict(
        type='KNNHook',
        bank=dict(
            batch_size=256,
            num_workers=0,
            dataset=dict(
                type='SamplePhotos',
                split='train',
                stride=48,
                test_mode=True,
                pipeline=test_pipeline,
            ),
            sampler=dict(type='EpochSampler', shuffle=False, round_up=False),
            collate_fn=dict(type='collate_readable'),
        ),
    ),
    dict(type='ReconstructionHook', num_images=8),
    dict(type='LearningSummaryHook'),
]
