# Mask R-CNN with narrow heads, for objects of 8 to 128 px and a few CPU cores
_base_ = 'mmdet::_base_/models/mask-rcnn_r50_fpn.py'

strides = [2, 4, 8, 16]

model = dict(
    rpn_head=dict(
        in_channels=64,
        feat_channels=64,
        anchor_generator=dict(scales=[4], strides=[*strides, 32]),
    ),
    roi_head=dict(
        bbox_roi_extractor=dict(
            out_channels=64, featmap_strides=strides, finest_scale=14
        ),
        bbox_head=dict(in_channels=64, fc_out_channels=256, num_classes=1),
        mask_roi_extractor=dict(
            out_channels=64, featmap_strides=strides, finest_scale=14
        ),
        mask_head=dict(
            num_convs=2, in_channels=64, conv_out_channels=64, num_classes=1
        ),
    ),
    train_cfg=dict(
        rpn_proposal=dict(nms_pre=1000, max_per_img=500),
        rcnn=dict(sampler=dict(num=128)),
    ),
    test_cfg=dict(rcnn=dict(max_per_img=400)),
)
