# UperNet on CamVid, ViT-micro/8, four of its blocks
#   python tools/train.py configs/folder/mae_vit-micro-p8_1xb64-coslr-8e_folder-128px.py \
#       --cfg-options data_root=/path/to/camvid/images/train
#   python tools/train.py configs/camvid/upernet_vit-micro-p8_1xb8-400_camvid.py \
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
        type='mim_zoo.MIMViT',
        arch='micro',
        img_size=256,
        patch_size=8,
        learned_pos=True,
        final_norm=False,
        out_indices=(2, 3, 4, 5),
        init_cfg=dict(
            type='Pretrained',
            checkpoint='work_dirs/mae_vit-micro-p8_1xb64-coslr-8e_folder-128px/epoch_8.pth',
            prefix='backbone.',
        ),
    ),
    neck=dict(type='mim_zoo.TapPyramid', in_channels=96, norm='BN'),
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
