# 20 nearest neighbours on frozen features of ViT-B/16 (2104.14294), ImageNet
#   tools/dist_test.sh configs/imagenet/mae_vit-base-p16_knn_in1k.py PRE_TRAINED.pth 8
# Hardware: any; the time of one pass over the training images.
# Expected: no published number for MAE. Prints knn_top1 (0 to 1); nothing is trained.
_base_ = '../mae/mae_vit-base-p16_8xb512-amp-coslr-800e_in1k.py'

test_dataloader = dict(dataset=dict(with_label=True))
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
