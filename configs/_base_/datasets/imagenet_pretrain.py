# ImageNet, augmented as MAE pre-trains (2111.06377): a crop, a flip. Labels only tell
# whether it learns: kNN of the validation images among a twentieth of the training
# ones, chosen by name. For a folder without labels take configs/folder.
_base_ = './imagenet_val.py'

train_pipeline = [
    dict(type='LoadImage'),
    dict(type='RandomResizedCrop', size=224, scale=(0.2, 1.0), interpolation='bicubic'),
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
