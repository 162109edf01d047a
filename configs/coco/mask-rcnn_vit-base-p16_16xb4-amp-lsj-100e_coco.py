# Mask R-CNN on COCO, ViT-B/16 with a simple feature pyramid (ViTDet, 2203.16527)
#   NNODES=2 NODE_RANK=0 MASTER_ADDR=10.0.0.1 tools/dist_train.sh configs/coco/mask-rcnn_vit-base-p16_16xb4-amp-lsj-100e_coco.py 8 \
#       --cfg-options model.backbone.init_cfg.checkpoint=PRE_TRAINED.pth
# Any pre-trained ViT-B: MAE, PixMIM, MFF, DeepMIM, dBOT (but where CLIP was
# its teacher: other relative positions); only the checkpoint differs.
# Hardware: batch 64, 16 GPUs; hours: about 1,030 of an A100 (from the published speed).
# Expected after MAE: 51.6 box AP, 45.9 mask AP (ViTDet's repository). Memory is not
# measured by us. What differs from the official recipe is in the README beside this file.
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
        arch='base',
        img_size=1024,
        class_token=False,
        drop_path_rate=0.1,
        learned_pos=True,
        final_norm=False,
        rel_pos='decomposed',
        window=14,
        global_blocks=(2, 5, 8, 11),
        init_cfg=dict(
            type='Pretrained',
            checkpoint='work_dirs/mae_vit-base-p16_8xb512-amp-coslr-1600e_in1k/epoch_1600.pth',
            prefix='backbone.',
        ),
    ),
    neck=dict(
        _delete_=True,
        type='mim_zoo.SimpleFeaturePyramid',
        in_channels=768,
        out_channels=256,
        num_outs=5,
    ),
)
