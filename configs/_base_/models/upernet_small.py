# mmseg's UperNet, narrow, for a few CPU cores; its path as in upernet_stages.py.
# 64 channels: with 32 the head cannot fit even four fixed images in 120 steps; with 64
# it can.
_base_ = __import__('mmseg').__path__[0] + '/.mim/configs/_base_/models/upernet_swin.py'

norm = dict(type='BN', requires_grad=True)

model = dict(
    data_preprocessor=dict(size=(256, 256)),
    decode_head=dict(
        in_channels=[96, 96, 96, 96], channels=64, num_classes=11, norm_cfg=norm
    ),
    auxiliary_head=dict(in_channels=96, channels=64, num_classes=11, norm_cfg=norm),
    test_cfg=dict(mode='slide', crop_size=(256, 256), stride=(104, 112)),
)
