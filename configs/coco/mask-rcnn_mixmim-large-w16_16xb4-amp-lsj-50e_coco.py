# Mask R-CNN on COCO, MixMIM-L (2205.13137): its four maps, a norm each, an FPN
#   NNODES=2 NODE_RANK=0 MASTER_ADDR=10.0.0.1 tools/dist_train.sh configs/coco/mask-rcnn_mixmim-large-w16_16xb4-amp-lsj-50e_coco.py 8 \
#       --cfg-options model.backbone.init_cfg.checkpoint=PRE_TRAINED.pth
# Hardware: batch 64, 16 GPUs; memory and hours: not measured by us.
# Expected: an article's 54.1 box AP, 48.1 mask AP. We do not know its recipe: this one is
# ours and was not run on COCO.
_base_ = [
    '../_base_/models/mask-rcnn_vitdet.py',
    '../_base_/datasets/coco_lsj.py',
    '../_base_/schedules/coco_vitdet.py',
    '../_base_/runtimes/mmdet.py',
]

model = dict(
    backbone=dict(
        _delete_=True,
        type='mim_zoo.MixMIMViT',
        arch='large',
        img_size=1024,
        windows=(16, 16, 16, 16),
        drop_path_rate=0.4,
        out_indices=(0, 1, 2, 3),
        with_cp=True,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='work_dirs/mixmim_mixmim-large-w14_16xb128-amp-coslr-600e_in1k/epoch_600.pth',
            prefix='backbone.',
        ),
    ),
    neck=[
        dict(type='mim_zoo.TapNorm', channels=(192, 384, 768, None)),
        dict(
            type='FPN',
            in_channels=[192, 384, 768, 1536],
            out_channels=256,
            norm_cfg=dict(type='mim_zoo.ChannelNorm', eps=1e-6),
            num_outs=5,
        ),
    ],
)

optim_wrapper = dict(
    optimizer=dict(weight_decay=0.05),
    paramwise_cfg=dict(
        layer_decay_rate=0.8, no_decay_names=('relative_position_bias_table',)
    ),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, begin=0, end=1000, by_epoch=False),
    dict(type='MultiStepLR', milestones=[44, 48], gamma=0.1, by_epoch=True),
]
train_cfg = dict(max_epochs=50)
