# ViTDet's (2203.16527) for a batch of 64: 100 epochs, two drops at 8/9 and 26/27. fp16,
# not bf16: mmdet's anchors have the precision of the RPN's scores.
optim_wrapper = dict(
    type='mim_zoo.AmpOptimWrapper',
    dtype='float16',
    optimizer=dict(type='AdamW', lr=1e-4, betas=(0.9, 0.999), weight_decay=0.1),
    constructor='mim_zoo.LayerDecayConstructor',
    paramwise_cfg=dict(layer_decay_rate=0.7, no_decay_names=('pos_embed',)),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, begin=0, end=250, by_epoch=False),
    dict(type='MultiStepLR', milestones=[89, 96], gamma=0.1, by_epoch=True),
]
train_cfg = dict(type='mim_zoo.EpochTrainLoop', max_epochs=100, val_interval=5)
val_cfg = dict(type='mim_zoo.ValLoop')
test_cfg = dict(type='mim_zoo.TestLoop')
auto_scale_lr = dict(enable=False, base_batch_size=64)
