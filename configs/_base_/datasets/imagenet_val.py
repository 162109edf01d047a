# ImageNet's validation images as everybody measures them; the other ImageNet data
# builds on this.
data_root = 'data/imagenet'

test_pipeline = [
    dict(type='LoadImage'),
    dict(type='Resize', size=256, interpolation='bicubic'),
    dict(type='CenterCrop', size=224),
    dict(type='PackInputs'),
]

# '{data_root}' is filled in when the data is opened, so that one value moves it all.
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
