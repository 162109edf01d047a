_base_ = 'mmdet::_base_/default_runtime.py'

custom_imports = dict(imports=['mim_zoo.models', 'mim_zoo.engine', 'mim_zoo.datasets'])

default_hooks = dict(
    checkpoint=dict(type='mim_zoo.SafeCheckpointHook', interval=1, max_keep_ckpts=3),
)

custom_hooks = [dict(type='mim_zoo.NumClassesHook')]
randomness = dict(seed=0)
