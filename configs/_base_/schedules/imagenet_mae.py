# MAE's pre-training schedule (2111.06377): AdamW, base rate 1.5e-4 x 4096 / 256.
# Biases and parameters of one dimension are not decayed. The cosine ends where
# train_cfg.max_epochs says: that one value is the length of the run.
optim_wrapper = dict(
    type='AmpOptimWrapper',
    dtype='bfloat16',
    optimizer=dict(type='AdamW', lr=2.4e-3, betas=(0.9, 0.95), weight_decay=0.05),
    constructor='LayerDecayConstructor',
)
param_scheduler = [
    dict(
        type='LinearLR', start_factor=1e-6, begin=0, end=40, convert_to_iter_based=True
    ),
    dict(type='CosineAnnealingLR', eta_min=0.0, begin=40, convert_to_iter_based=True),
]
train_cfg = dict(type='EpochTrainLoop', max_epochs=800, val_interval=20)
auto_scale_lr = dict(base_batch_size=4096)
