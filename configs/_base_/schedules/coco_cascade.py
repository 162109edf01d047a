# dBOT's (2209.03917) for a batch of 16: 12 epochs. fp16, not bf16: mmdet's anchors have
# the precision of the RPN's scores.
optim_wrapper = dict(
    type='mim_zoo.AmpOptimWrapper',
    dtype='float16',
    optimizer=dict(type='AdamW', lr=1e-4, betas=(0.9, 0.999), weight_decay=0.05),
    constructor='mim_zoo.LayerDecayConstructor',
    paramwise_cfg=dict(
        layer_decay_rate=0.75, no_decay_names=('pos_embed', 'cls_token')
    ),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, begin=0, end=500, by_epoch=False),
    dict(type='MultiStepLR', milestones=[8, 11], gamma=0.1, by_epoch=True),
]
train_cfg = dict(type='mim_zoo.EpochTrainLoop', max_epochs=12, val_interval=1)
val_cfg = dict(type='mim_zoo.ValLoop')
test_cfg = dict(type='mim_zoo.TestLoop')
auto_scale_lr = dict(enable=False, base_batch_size=16)
