# CIFAR-10 with labels, 32 px, crops and flips: fine-tuning, linear probe, from scratch
# Few labels: --cfg-options train_dataloader.dataset.share=0.1 (of each class)
# To move it: --cfg-options data_root=/path/to/cifar10
data_root = 'data/cifar10'

train_pipeline = [
    dict(type='LoadImage'),
    dict(type='RandomResizedCrop', size=32, scale=(0.5, 1.0), interpolation='bicubic'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackInputs'),
]
test_pipeline = [
    dict(type='LoadImage'),
    dict(type='Resize', size=(32, 32)),
    dict(type='PackInputs'),
]

train_dataloader = dict(
    batch_size=128,
    num_workers=1,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type='EpochSampler', shuffle=True),
    collate_fn=dict(type='collate_readable'),
    dataset=dict(
        type='ClassShare',
        share=1.0,
        seed=0,
        dataset=dict(
            type='ImageFolder',
            data_root='{data_root}/train',
            with_label=True,
            pipeline=train_pipeline,
        ),
    ),
)
val_dataloader = dict(
    batch_size=500,
    num_workers=1,
    sampler=dict(type='EpochSampler', shuffle=False, round_up=False),
    collate_fn=dict(type='collate_readable'),
    dataset=dict(
        type='ImageFolder',
        data_root='{data_root}/test',
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
