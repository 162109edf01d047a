# ImageNet with labels as the MAE linear probe sees it (2111.06377): one draw per crop,
# no second try, and a flip. 8 GPUs x 512 x 4 accumulated = 16,384.
_base_ = './imagenet_val.py'

train_pipeline = [
    dict(type='LoadImage'),
    dict(
        type='RandomResizedCrop',
        size=224,
        scale=(0.08, 1.0),
        interpolation='bicubic',
        single_draw=True,
    ),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackInputs'),
]

train_dataloader = dict(
    batch_size=512,
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
