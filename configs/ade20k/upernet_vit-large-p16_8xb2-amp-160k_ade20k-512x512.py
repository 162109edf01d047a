# UperNet on ADE20K, ViT-L/16 (the recipe of BEiT, 2106.08254, as used after dBOT)
#   tools/dist_train.sh configs/ade20k/upernet_vit-large-p16_8xb2-amp-160k_ade20k-512x512.py 8 \
#       --cfg-options model.backbone.init_cfg.checkpoint=PRE_TRAINED.pth
# Hardware: batch 16, 8 GPUs; memory and hours: not measured by us.
# Expected: 54.5 mIoU after dBOT (official repository, this recipe).
_base_ = [
    '../_base_/models/upernet_vit.py',
    '../_base_/datasets/ade20k.py',
    '../_base_/schedules/ade20k_upernet.py',
    '../_base_/runtimes/mmseg.py',
]

model = dict(
    backbone=dict(
        _delete_=True,
        type='mim_zoo.MIMViT',
        arch='large',
        img_size=512,
        drop_path_rate=0.2,
        learned_pos=True,
        final_norm=False,
        rel_pos='block',
        layer_scale=1.0,
        out_indices=(7, 11, 15, 23),
        with_cp=True,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='work_dirs/dbot_vit-large-p16_8xb512-amp-coslr-1600e_in1k/epoch_1600.pth',
            prefix='backbone.',
        ),
    ),
    neck=dict(_delete_=True, type='mim_zoo.TapPyramid', in_channels=1024),
    decode_head=dict(in_channels=[1024, 1024, 1024, 1024], channels=1024),
    auxiliary_head=dict(in_channels=1024),
)

optim_wrapper = dict(
    optimizer=dict(lr=3e-5),
    paramwise_cfg=dict(
        layer_decay_rate=0.95, no_decay_names=('pos_embed', 'cls_token')
    ),
)
