# mmseg's own; MMEngine looks for 'mmseg::' under the name of the older package only
_base_ = __import__('mmseg').__path__[0] + '/.mim/configs/_base_/default_runtime.py'

custom_imports = dict(imports=['mim_zoo.models', 'mim_zoo.engine', 'mim_zoo.datasets'])

custom_hooks = [dict(type='mim_zoo.NumClassesHook')]
randomness = dict(seed=0)
