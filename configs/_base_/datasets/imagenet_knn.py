# ImageNet's validation images by their neighbours among all training images. Nothing is
# trained: for tools/test.py only.
_base_ = './imagenet_val.py'

val_evaluator = []
test_evaluator = val_evaluator

bank = dict(
    batch_size=256,
    num_workers=8,
    sampler=dict(type='EpochSampler', shuffle=False, round_up=False),
    collate_fn=dict(type='collate_readable'),
    dataset=dict(
        type='ImageFolder',
        data_root='{data_root}/train',
        with_label=True,
        test_mode=True,
        pipeline=_base_.test_pipeline,
    ),
)
custom_hooks = [
    dict(type='KNNHook', bank=bank, k=20, temperature=0.07, pool='avg'),
]
