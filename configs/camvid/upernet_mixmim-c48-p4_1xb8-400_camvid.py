# UperNet on CamVid, a small MixMIM encoder, its three maps
#   python tools/train.py configs/folder/mixmim_mixmim-c48-p4_1xb64-coslr-4e_folder-128px.py \
#       --cfg-options data_root=/path/to/camvid/images/train
#   python tools/train.py configs/camvid/upernet_mixmim-c48-p4_1xb8-400_camvid.py \
#       --cfg-options data_root=/path/to/camvid
# From scratch: --cfg-options model.backbone.init_cfg=None
# Hardware: 2 CPU cores, TIME.
# Expected (measured, seed 0): RESULT
_base_ = [
    '../_base_/models/upernet_small.py',
    '../_base_/datasets/camvid.py',
    '../_base_/runtimes/mmseg.py',
]

model = dict(
    backbone=dict(
        _delete_=True,
        type='mim_zoo.MixMIMViT',
        arch=dict(
            embed_dim=48,
            depths=(1, 4, 1),
            num_heads=(2, 4, 8),
            windows=(8, 8, 8),
            patch_size=4,
        ),
        img_size=256,
        out_indices=(0, 1, 2),
        init_cfg=dict(
            type='Pretrained',
            checkpoint='work_dirs/mixmim_mixmim-c48-p4_1xb64-coslr-4e_folder-128px/epoch_4.pth',
            prefix='backbone.',
        ),
    ),
    neck=dict(type='mim_zoo.TapNorm', channels=(48, 96, None)),
    decode_head=dict(in_channels=[48, 96, 192], in_index=[0, 1, 2]),
    auxiliary_head=dict(in_channels=96, in_index=1),
)

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-3, betas=(0.9, 0.999), weight_decay=0.05),
    constructor='mim_zoo.LayerDecayConstructor',
)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-2, begin=0, end=50, by_epoch=False),
    dict(type='PolyLR', power=1.0, eta_min=0.0, begin=50, end=400, by_epoch=False),
]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=400, val_interval=400)
val_cfg = dict(type='mim_zoo.ValLoop')
test_cfg = dict(type='mim_zoo.TestLoop')
default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50, log_metric_by_epoch=False),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(type='mim_zoo.SafeCheckpointHook', by_epoch=False, interval=200),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    visualization=dict(type='SegVisualizationHook'),
)
auto_scale_lr = dict(enable=False, base_batch_size=8)
