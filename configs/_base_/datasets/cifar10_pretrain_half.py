# CIFAR-10 for pre-training on half of the training images, chosen by name: an epoch is
# 25,000 images, so that a short run has epochs enough for dBOT's stages
_base_ = './cifar10_pretrain.py'

train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='HeldOutSplit',
        split='train',
        share=0.5,
        dataset=dict(
            type='ImageFolder',
            data_root='{data_root}/train',
            pipeline=_base_.train_pipeline,
        ),
    )
)
