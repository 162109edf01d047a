# UperNet on CamVid, ViT-micro/8, four of its blocks
#   python tools/train.py configs/folder/mae_vit-micro-p8_1xb64-coslr-8e_folder-128px.py \
#       --work-dir work_dirs/mae_camvid --cfg-options data_root=/path/to/camvid/images/train \
#       model.head.target.normalize=False
#   python tools/train.py configs/camvid/upernet_vit-micro-p8_1xb4-300_camvid.py \
#       --cfg-options data_root=/path/to/camvid
# Random weights instead: --cfg-options model.backbone.init_cfg=None
# An encoder that learns, at a tenth of the head's rate: model.backbone.frozen_stages=-1
# Hardware: 1 of 2 CPU cores, 16 min, and 15 min to pre-train.
# Expected (measured, seeds 0 / 1): 22.9 / 21.1 mIoU after pre-training, 21.4 / 19.6 from
# random weights; with an encoder that learns 20.9 / 21.0 and, from scratch, 21.5 / 20.6.
# See docs/downstream.md.
_base_ = [
    '../_base_/models/upernet_small.py',
    '../_base_/datasets/camvid.py',
    '../_base_/schedules/camvid.py',
    '../_base_/runtimes/mmseg.py',
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
        out_indices=(2, 3, 4, 5),
        frozen_stages='all',  # one that learns ends lower on average
        init_cfg=dict(
            type='Pretrained',
            checkpoint='work_dirs/mae_camvid/epoch_8.pth',
            prefix='backbone.',
        ),
    ),
    neck=dict(type='mim_zoo.TapPyramid', in_channels=96, norm='BN'),
)
