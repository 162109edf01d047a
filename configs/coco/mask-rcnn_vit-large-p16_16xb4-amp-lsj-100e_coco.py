# Mask R-CNN on COCO, ViT-L/16 with a simple feature pyramid (ViTDet, 2203.16527)
#   NNODES=2 NODE_RANK=0 MASTER_ADDR=10.0.0.1 tools/dist_train.sh configs/coco/mask-rcnn_vit-large-p16_16xb4-amp-lsj-100e_coco.py 8 \
#       --cfg-options model.backbone.init_cfg.checkpoint=PRE_TRAINED.pth
# Hardware: batch 64, 16 GPUs; hours: about 1,980 of an A100 (from the published speed).
# Expected after MAE: 55.5 box AP, 49.2 mask AP (ViTDet's repository). Blocks are
# recomputed in the backward pass; model.backbone.with_cp=False where memory allows.
_base_ = [
    '../_base_/models/mask-rcnn_vitdet.py',
    '../_base_/datasets/coco_lsj.py',
    '../_base_/schedules/coco_vitdet.py',
    '../_base_/runtimes/mmdet.py',
]

model = dict(
    backbone=dict(
        _delete_=True,
        type='mim_zoo.MIMViT',
        arch='large',
        img_size=1024,
        class_token=False,
        drop_path_rate=0.4,
        learned_pos=True,
        final_norm=False,
        rel_pos='decomposed',
        window=14,
        global_blocks=(5, 11, 17, 23),
        with_cp=True,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='work_dirs/mae_vit-large-p16_8xb512-amp-coslr-1600e_in1k/epoch_1600.pth',
            prefix='backbone.',
        ),
    ),
    neck=dict(
        _delete_=True,
        type='mim_zoo.SimpleFeaturePyramid',
        in_channels=1024,
        out_channels=256,
        num_outs=5,
    ),
)

optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=0.8))
