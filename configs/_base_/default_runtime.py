default_scope = 'mim_zoo'
runner_type = 'ZooRunner'

# A name here keeps its place when a config adds hooks of its own (custom_hooks).
default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    seed=dict(type='SeedHook'),
    param_scheduler=dict(type='ParamSchedulerHook'),
    logger=dict(type='LoggerHook', interval=50),
    checkpoint=dict(type='SafeCheckpointHook', interval=1, max_keep_ckpts=3),
    non_finite=dict(type='NonFiniteLossHook'),
    unreadable=dict(type='UnreadableFilesHook'),
    agreement=dict(type='DataAgreementHook'),
    progress=dict(type='ProgressHook'),
)

env_cfg = dict(
    cudnn_benchmark=True,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'),  # gloo on a machine without a GPU
)

visualizer = dict(
    type='Visualizer',
    vis_backends=[dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend')],
)

log_level = 'INFO'
randomness = dict(seed=0)
load_from = None  # start from the weights of this file
resume = False  # go on from load_from, else from the newest file of the work folder
