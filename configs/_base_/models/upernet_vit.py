# mmseg's own; MMEngine looks for 'mmseg::' under the name of the older package only
_base_ = __import__('mmseg').__path__[0] + '/.mim/configs/_base_/models/upernet_beit.py'

model = dict(
    data_preprocessor=dict(size=(512, 512)),
    test_cfg=dict(mode='slide', crop_size=(512, 512), stride=(341, 341)),
)
