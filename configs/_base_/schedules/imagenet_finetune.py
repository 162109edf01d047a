# MAE's fine-tuning schedule (2111.06377): AdamW with a rate per layer, here the values
# of ViT-B: base rate 5e-4 x 1024 / 256. A leaf that changes the rate also changes
# eta_min_ratio: the least rate, 1e-6, is scaled per layer as the rate is (officially so).
optim_wrapper = dict(
    type='AmpOptimWrapper',
    dtype='bfloat16',
    optimizer=dict(type='AdamW', lr=2e-3, betas=(0.9, 0.999), weight_decay=0.05),
    constructor='LayerDecayConstructor',
    paramwise_cfg=dict(
        layer_decay_rate=0.65, no_decay_names=('pos_embed', 'cls_token')
    ),
)
param_scheduler = [
    dict(
        type='LinearLR', start_factor=1e-6, begin=0, end=5, convert_to_iter_based=True
    ),
    dict(
        type='CosineAnnealingLR',
        eta_min_ratio=1e-6 / 2e-3,
        begin=5,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(type='EpochTrainLoop', max_epochs=100, val_interval=5)
auto_scale_lr = dict(base_batch_size=1024)
