# dBOT (2209.03917), three stages, ViT-micro, CIFAR-10, 150,000 images seen
#   python tools/train.py configs/cifar10/dbot-3stage_vit-micro-p4_1xb128-coslr-6e_cifar10-50percent.py \
#       --cfg-options data_root=/path/to/cifar10
# Hardware: 1 CPU core, minutes: docs/zoo.md. Expected: its tables (tools/run_zoo.py).
_base_ = './dbot_vit-micro-p4_1xb128-coslr-6e_cifar10-50percent.py'

param_scheduler = [
    dict(
        type='StagedCosineLR',
        warmup=0.25,
        boundaries=[2, 4],
        convert_to_iter_based=True,
    ),
]
default_hooks = dict(staging=dict(boundaries=[2, 4]))
