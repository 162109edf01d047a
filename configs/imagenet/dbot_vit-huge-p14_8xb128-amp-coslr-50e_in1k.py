# Fine-tuning ViT-H/14 after dBOT on ImageNet, 50 epochs (2209.03917)
#   tools/dist_train.sh configs/imagenet/dbot_vit-huge-p14_8xb128-amp-coslr-50e_in1k.py 8 \
#       --cfg-options model.backbone.init_cfg.checkpoint=PRE_TRAINED.pth
# Hardware: 8 GPUs, batch 1024; hours: not published.
# Expected: 87.4 top-1 after 1600 epochs of pre-training (official repository).
_base_ = './vit-huge-p14_8xb128-amp-coslr-50e_in1k.py'

model = dict(
    backbone=dict(
        drop_path_rate=0.3,
        init_cfg=dict(
            checkpoint='work_dirs/dbot_vit-huge-p14_8xb512-amp-coslr-1600e_in1k/epoch_1600.pth'
        ),
    ),
    head_init_std=0.01,
)
optim_wrapper = dict(
    optimizer=dict(lr=1.2e-3),
    paramwise_cfg=dict(layer_decay_rate=0.75),
)
_base_.param_scheduler[1].eta_min_ratio = 1e-6 / 1.2e-3
