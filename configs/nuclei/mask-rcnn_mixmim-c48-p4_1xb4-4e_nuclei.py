# Mask R-CNN on cell nuclei, a small MixMIM encoder, its three maps, an FPN
#   python tools/train.py configs/folder/mixmim_mixmim-c48-p4_1xb64-coslr-4e_folder-128px.py \
#       --work-dir work_dirs/mixmim_nuclei --cfg-options data_root=/path/to/nuclei/train
#   python tools/train.py configs/nuclei/mask-rcnn_mixmim-c48-p4_1xb4-4e_nuclei.py \
#       --cfg-options data_root=/path/to/nuclei
# From scratch: --cfg-options model.backbone.init_cfg=None
# Hardware: 1 of 2 CPU cores (AMD EPYC), 17 min beside other runs.
# Expected (measured, seed 0): 0.331 box AP, 0.342 mask AP after pre-training; 0.183 and
# 0.202 from scratch. After pre-training on raw pixels at a rate of 2e-3, 0.259 and 0.273
# on one machine, and on another, where it learned no more than the mean colour, 0.182 and
# 0.200.
_base_ = [
    '../_base_/models/mask-rcnn_small.py',
    '../_base_/datasets/nuclei.py',
    '../_base_/schedules/nuclei.py',
    '../_base_/runtimes/mmdet.py',
]

model = dict(
    backbone=dict(
        _delete_=True,
        type='mim_zoo.MixMIMViT',
        arch=dict(
            embed_dim=48,
            depths=(1, 4, 1),
            num_heads=(2, 4, 8),
            windows=(8, 8, 8),
            patch_size=4,
        ),
        img_size=256,
        out_indices=(0, 1, 2),
        init_cfg=dict(
            type='Pretrained',
            checkpoint='work_dirs/mixmim_nuclei/epoch_4.pth',
            prefix='backbone.',
        ),
    ),
    neck=[
        dict(type='mim_zoo.TapNorm', channels=(48, 96, None)),
        dict(
            type='FPN',
            in_channels=[48, 96, 192],
            out_channels=64,
            norm_cfg=dict(type='mim_zoo.ChannelNorm', eps=1e-6),
            num_outs=4,
        ),
    ],
    rpn_head=dict(anchor_generator=dict(strides=[4, 8, 16, 32])),
    roi_head=dict(
        bbox_roi_extractor=dict(featmap_strides=[4, 8, 16]),
        mask_roi_extractor=dict(featmap_strides=[4, 8, 16]),
    ),
)
