# ImageNet, augmented as PixMIM pre-trains (2303.02416): a crop that keeps most of the
# image, a flip. Labels only tell whether it learns: kNN of the validation images among a
# twentieth of the training ones, chosen by name.
_base_ = './imagenet_val.py'

train_pipeline = [
    dict(type='LoadImage'),
    dict(type='SimpleResizedCrop', size=224, padding=4, interpolation='bilinear'),
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
        type='ImageFolder', data_root='{data_root}/train', pipeline=train_pipeline
    ),
)
val_evaluator = []
test_evaluator = val_evaluator

bank = dict(
    batch_size=256,
    num_workers=8,
    sampler=dict(type='EpochSampler', shuffle=False, round_up=False),
    collate_fn=dict(type='collate_readable'),
    dataset=dict(
        type='HeldOutSplit',
        split='val',
        share=0.05,
        dataset=dict(
            type='ImageFolder',
            data_root='{data_root}/train',
            with_label=True,
            test_mode=True,
            pipeline=_base_.test_pipeline,
        ),
    ),
)
custom_hooks = [
    dict(type='ExplainedShareHook'),
    dict(type='KNNHook', bank=bank, k=20, temperature=0.07, pool='avg'),
    dict(type='ReconstructionHook', num_images=8),
    dict(type='LearningSummaryHook'),
]
