# The schedule of dBOT with CLIP as the teacher (2209.03917): one stage, the rate is for
# batch 4096 and is not scaled by another rule.
optim_wrapper = dict(
    type='AmpOptimWrapper',
    dtype='bfloat16',
    optimizer=dict(
        type='AdamW', lr=3e-3, betas=(0.9, 0.98), eps=1e-6, weight_decay=0.05
    ),
    clip_grad=dict(max_norm=3.0),
    constructor='LayerDecayConstructor',
    paramwise_cfg=dict(no_decay_names=('cls_token',)),
)
param_scheduler = [
    dict(
        type='LinearLR', start_factor=1e-6, begin=0, end=10, convert_to_iter_based=True
    ),
    dict(type='CosineAnnealingLR', eta_min=1e-5, begin=10, convert_to_iter_based=True),
]
train_cfg = dict(type='EpochTrainLoop', max_epochs=1600, val_interval=20)
auto_scale_lr = dict(base_batch_size=4096)
