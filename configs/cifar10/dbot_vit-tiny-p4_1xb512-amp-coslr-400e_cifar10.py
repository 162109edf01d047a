# dBOT (2209.03917), two stages, ViT-tiny, CIFAR-10, 400 epochs
#   python tools/train.py configs/cifar10/dbot_vit-tiny-p4_1xb512-amp-coslr-400e_cifar10.py \
#       --cfg-options data_root=/path/to/cifar10
# Hardware: one GPU; hours: not measured. Expected: no number yet.
_base_ = './mae_vit-tiny-p4_1xb512-amp-coslr-400e_cifar10.py'

model = dict(
    type='DBOT',
    backbone=dict(drop_path_rate=0.1),
    head=dict(
        target=dict(_delete_=True, type='TeacherTarget', norm=False, normalize=True),
        decoder=dict(drop_path_rate=0.1),
        loss=dict(type='MaskedSmoothL1', beta=2.0),
        score_prefix=True,
    ),
)

param_scheduler = [
    dict(
        type='StagedCosineLR', warmup=20, boundaries=[200], convert_to_iter_based=True
    ),
]
default_hooks = dict(staging=dict(type='BootstrapHook', boundaries=[200]))
