# MAE's linear probe (2111.06377): LARS, base rate 0.1 x 16384 / 256, no weight decay.
optim_wrapper = dict(
    type='AmpOptimWrapper',
    dtype='bfloat16',
    accumulative_counts=4,
    optimizer=dict(type='LARS', lr=6.4, momentum=0.9, weight_decay=0.0),
    constructor='LayerDecayConstructor',
)
param_scheduler = [
    dict(
        type='LinearLR', start_factor=1e-6, begin=0, end=10, convert_to_iter_based=True
    ),
    dict(type='CosineAnnealingLR', eta_min=0.0, begin=10, convert_to_iter_based=True),
]
train_cfg = dict(type='EpochTrainLoop', max_epochs=90, val_interval=5)
auto_scale_lr = dict(base_batch_size=16384)

# As officially, all processes go on with the BatchNorm statistics of the first.
model_wrapper_cfg = dict(type='MMDistributedDataParallel', broadcast_buffers=True)
