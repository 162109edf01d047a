# Mask R-CNN on cell nuclei, ViT-micro/8 with a simple feature pyramid
#   python tools/train.py configs/folder/mae_vit-micro-p8_1xb64-coslr-8e_folder-128px.py \
#       --work-dir work_dirs/mae_nuclei --cfg-options data_root=/path/to/nuclei/train
#   python tools/train.py configs/nuclei/mask-rcnn_vit-micro-p8_1xb4-4e_nuclei.py \
#       --cfg-options data_root=/path/to/nuclei
# From scratch: --cfg-options model.backbone.init_cfg=None
# Hardware: 1 of 2 CPU cores beside others, 13 min 27 s (Intel Xeon), 35 min (AMD EPYC).
# Expected (measured, seed 0): 0.364 box AP, 0.360 mask AP after pre-training; 0.318 and
# 0.324 from scratch (AMD EPYC; 0.362, 0.362; 0.317, 0.325 on an Intel Xeon). After
# pre-training on raw pixels 0.259 and 0.247: features then hold the colour of the whole
# picture, which differs most between these.
_base_ = [
    '../_base_/models/mask-rcnn_small.py',
    '../_base_/datasets/nuclei.py',
    '../_base_/schedules/nuclei.py',
    '../_base_/runtimes/mmdet.py',
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
        init_cfg=dict(
            type='Pretrained',
            checkpoint='work_dirs/mae_nuclei/epoch_8.pth',
            prefix='backbone.',
        ),
    ),
    neck=dict(
        _delete_=True,
        type='mim_zoo.SimpleFeaturePyramid',
        in_channels=96,
        out_channels=64,
        num_outs=5,
    ),
)
