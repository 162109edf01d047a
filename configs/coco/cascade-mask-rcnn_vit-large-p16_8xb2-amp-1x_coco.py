# Cascade Mask R-CNN on COCO, ViT-L/16 and an FPN over four of its blocks (dBOT, 2209.03917)
#   tools/dist_train.sh configs/coco/cascade-mask-rcnn_vit-large-p16_8xb2-amp-1x_coco.py 8 \
#       --cfg-options model.backbone.init_cfg.checkpoint=PRE_TRAINED.pth
# Hardware: batch 16, 8 GPUs; memory and hours: not measured by us.
# Expected after dBOT: 56.0 box AP (official repository). What differs from the official
# recipe is in the README beside this file.
_base_ = [
    '../_base_/models/cascade-mask-rcnn_taps.py',
    '../_base_/datasets/coco_multiscale.py',
    '../_base_/schedules/coco_cascade.py',
    '../_base_/runtimes/mmdet.py',
]

model = dict(
    backbone=dict(
        _delete_=True,
        type='mim_zoo.MIMViT',
        arch='large',
        img_size=(672, 1092),
        drop_path_rate=0.2,
        learned_pos=True,
        final_norm=False,
        out_indices=(7, 11, 15, 23),
        with_cp=True,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='work_dirs/dbot_vit-large-p16_8xb512-amp-coslr-1600e_in1k/epoch_1600.pth',
            prefix='backbone.',
        ),
    ),
    neck=[
        dict(type='mim_zoo.TapPyramid', in_channels=1024),
        dict(
            type='FPN',
            in_channels=[1024, 1024, 1024, 1024],
            out_channels=256,
            num_outs=5,
        ),
    ],
)
