# dBOT (2209.03917), three stages, ViT-tiny, CIFAR-10, 400 epochs
#   python tools/train.py configs/cifar10/dbot-3stage_vit-tiny-p4_1xb512-amp-coslr-400e_cifar10.py \
#       --cfg-options data_root=/path/to/cifar10
# Hardware: one GPU; hours: not measured. Expected: no number yet.
_base_ = './dbot_vit-tiny-p4_1xb512-amp-coslr-400e_cifar10.py'

param_scheduler = [
    dict(
        type='StagedCosineLR',
        warmup=20,
        boundaries=[133, 266],
        convert_to_iter_based=True,
    ),
]
default_hooks = dict(staging=dict(boundaries=[133, 266]))
