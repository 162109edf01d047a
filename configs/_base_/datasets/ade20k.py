# mmseg's own; MMEngine looks for 'mmseg::' under the name of the older package only
_base_ = __import__('mmseg').__path__[0] + '/.mim/configs/_base_/datasets/ade20k.py'

train_dataloader = dict(batch_size=2)
