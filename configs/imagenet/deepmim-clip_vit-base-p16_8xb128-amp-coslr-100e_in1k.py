# Fine-tuning ViT-B/16 after DeepMIM with CLIP on ImageNet, 100 epochs (2303.08817)
#   tools/dist_train.sh configs/imagenet/deepmim-clip_vit-base-p16_8xb128-amp-coslr-100e_in1k.py 8 \
#       --cfg-options model.backbone.init_cfg.checkpoint=PRE_TRAINED.pth
# Hardware: 8 GPUs, batch 1024; hours: not published.
# Expected: 85.6 top-1 after 1600 epochs of pre-training (paper; 85.50 at the end of its log).
_base_ = './vit-base-p16_8xb128-amp-coslr-100e_in1k.py'

model = dict(
    backbone=dict(
        drop_path_rate=0.1,
        init_cfg=dict(
            checkpoint='work_dirs/deepmim-clip_vit-base-p16_8xb512-amp-coslr-1600e_in1k/epoch_1600.pth'
        ),
    ),
)
optim_wrapper = dict(
    optimizer=dict(lr=4e-4),
    paramwise_cfg=dict(layer_decay_rate=0.6),
)
_base_.param_scheduler[1].eta_min_ratio = 1e-6 / 4e-4
