# CIFAR-10 as folders train/CLASS/*.jpg and test/CLASS/*.jpg, 32 px, for pre-training
# with labels only to tell whether it learns (kNN, linear probe).
# The two are measured on a part of the images (a fifth, by name), 10,000 for features
# and 2,000 to classify: more would take longer than training does.
# To move it: --cfg-options data_root=/path/to/cifar10
data_root = 'data/cifar10'

train_pipeline = [
    dict(type='LoadImage'),
    dict(type='RandomResizedCrop', size=32, scale=(0.2, 1.0), interpolation='bicubic'),
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
        type='ImageFolder', data_root='{data_root}/train', pipeline=train_pipeline
    ),
)
val_dataloader = dict(
    batch_size=500,
    num_workers=1,
    sampler=dict(type='EpochSampler', shuffle=False, round_up=False),
    collate_fn=dict(type='collate_readable'),
    dataset=dict(
        type='HeldOutSplit',
        split='val',
        share=0.2,
        dataset=dict(
            type='ImageFolder',
            data_root='{data_root}/test',
            with_label=True,
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

bank = dict(
    batch_size=500,
    num_workers=1,
    sampler=dict(type='EpochSampler', shuffle=False, round_up=False),
    collate_fn=dict(type='collate_readable'),
    dataset=dict(
        type='HeldOutSplit',
        split='val',
        share=0.2,
        dataset=dict(
            type='ImageFolder',
            data_root='{data_root}/train',
            with_label=True,
            test_mode=True,
            pipeline=test_pipeline,
        ),
    ),
)
custom_hooks = [
    dict(type='ExplainedShareHook'),
    dict(
        type='KNNHook',
        bank=bank,
        k=20,
        temperature=0.07,
        pool='avg',
        linear=True,
        blocks=True,
    ),
    dict(type='ReconstructionHook', num_images=8),
    dict(type='LearningSummaryHook'),
]
