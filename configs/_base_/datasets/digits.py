# scikit-learn's scans of handwritten digits, scaled up from 8 to 32 px; no flip
train_pipeline = [
    dict(type='Resize', size=32),
    dict(type='RandomResizedCrop', size=32, scale=(0.6, 1.0), interpolation='bicubic'),
    dict(type='PackInputs'),
]
test_pipeline = [dict(type='Resize', size=32), dict(type='PackInputs')]

train_dataloader = dict(
    batch_size=64,
    num_workers=1,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type='EpochSampler', shuffle=True),
    collate_fn=dict(type='collate_readable'),
    dataset=dict(type='Digits', split='train', pipeline=train_pipeline),
)
val_dataloader = dict(
    batch_size=128,
    num_workers=0,
    sampler=dict(type='EpochSampler', shuffle=False, round_up=False),
    collate_fn=dict(type='collate_readable'),
    dataset=dict(type='Digits', split='val', test_mode=True, pipeline=test_pipeline),
)
val_cfg = dict()
val_evaluator = [dict(type='Accuracy', topk=(1, 5))]
test_dataloader = val_dataloader
test_cfg = val_cfg
test_evaluator = val_evaluator
