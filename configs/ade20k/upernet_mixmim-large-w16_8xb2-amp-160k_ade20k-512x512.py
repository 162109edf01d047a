# UperNet on ADE20K, MixMIM-L (2205.13137): its four maps, a norm each
#   tools/dist_train.sh configs/ade20k/upernet_mixmim-large-w16_8xb2-amp-160k_ade20k-512x512.py 8 \
#       --cfg-options model.backbone.init_cfg.checkpoint=PRE_TRAINED.pth
# Hardware: batch 16, 8 GPUs; memory and hours: not measured by us.
# Expected: a leaderboard's 53.8 mIoU. We do not know its recipe: this one is ours and was
# not run on ADE20K.
_base_ = [
    '../_base_/models/upernet_stages.py',
    '../_base_/datasets/ade20k.py',
    '../_base_/schedules/ade20k_upernet.py',
    '../_base_/runtimes/mmseg.py',
]

model = dict(
    backbone=dict(
        _delete_=True,
        type='mim_zoo.MixMIMViT',
        arch='large',
        img_size=512,
        windows=(16, 16, 16, 16),
        drop_path_rate=0.3,
        out_indices=(0, 1, 2, 3),
        with_cp=True,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='work_dirs/mixmim_mixmim-large-w14_16xb128-amp-coslr-600e_in1k/epoch_600.pth',
            prefix='backbone.',
        ),
    ),
    neck=dict(type='mim_zoo.TapNorm', channels=(192, 384, 768, None)),
    decode_head=dict(in_channels=[192, 384, 768, 1536]),
    auxiliary_head=dict(in_channels=768),
)

optim_wrapper = dict(
    paramwise_cfg=dict(
        layer_decay_rate=0.8, no_decay_names=('relative_position_bias_table',)
    )
)
