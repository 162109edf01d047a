# Mask R-CNN with the heads of ViTDet (2203.16527): norms, two convolutions in the RPN,
# four and a linear layer for boxes. Images are padded to squares of 1024 px, so that
# positions mean the same in training and in the test.
_base_ = 'mmdet::_base_/models/mask-rcnn_r50_fpn.py'

norm = dict(type='mim_zoo.ChannelNorm', eps=1e-6)

model = dict(
    data_preprocessor=dict(pad_size_divisor=1024),
    rpn_head=dict(num_convs=2),
    roi_head=dict(
        bbox_head=dict(
            type='Shared4Conv1FCBBoxHead', conv_out_channels=256, norm_cfg=norm
        ),
        mask_head=dict(norm_cfg=norm),
    ),
)
