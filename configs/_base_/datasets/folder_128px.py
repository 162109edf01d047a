# A few hundred images of your own, read 20 times an epoch, no labels needed.
# A twentieth of them, chosen by name, is held out to tell whether the model learns.
# --cfg-options data_root=/path/to/images
_base_ = './folder_224px.py'

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
    pin_memory=False,
    dataset=dict(
        _delete_=True,
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
    pin_memory=False,
    dataset=dict(dataset=dict(pipeline=test_pipeline)),
)
test_dataloader = val_dataloader
