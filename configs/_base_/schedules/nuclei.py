# 4 epochs of 4 images a step
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=5e-4, betas=(0.9, 0.999), weight_decay=0.05),
    constructor='mim_zoo.LayerDecayConstructor',
    clip_grad=dict(max_norm=10.0),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-2, begin=0, end=50, by_epoch=False),
    dict(type='MultiStepLR', milestones=[3], gamma=0.1, by_epoch=True),
]
train_cfg = dict(type='mim_zoo.EpochTrainLoop', max_epochs=4, val_interval=4)
val_cfg = dict(type='mim_zoo.ValLoop')
test_cfg = dict(type='mim_zoo.TestLoop')
auto_scale_lr = dict(enable=False, base_batch_size=4)
