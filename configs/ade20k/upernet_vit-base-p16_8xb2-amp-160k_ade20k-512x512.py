# UperNet on ADE20K, ViT-B/16 (the recipe of BEiT, 2106.08254, as used after MAE)
#   tools/dist_train.sh configs/ade20k/upernet_vit-base-p16_8xb2-amp-160k_ade20k-512x512.py 8 \
#       --cfg-options model.backbone.init_cfg.checkpoint=PRE_TRAINED.pth
# Any pre-trained ViT-B: MAE, PixMIM, MFF, DeepMIM, dBOT (where CLIP was its teacher with
# model.backbone.absolute_pos=False model.backbone.learned_pos=False); what differs is the
# checkpoint and, for some published numbers, the options below.
# Relative positions and LayerScale are new, and start without an effect.
# Hardware: batch 16, 8 GPUs; memory and hours: not measured by us.
# Expected: 48.1 mIoU after MAE, 1600 epochs (implus/mae_segmentation, this recipe).
# After DeepMIM with CLIP 53.1 (official log), with optim_wrapper.optimizer.lr=5e-5
# optim_wrapper.paramwise_cfg.layer_decay_rate=0.9; after dBOT 49.5 (official repository),
# with model.backbone.drop_path_rate=0.2.
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
        arch='base',
        img_size=512,
        drop_path_rate=0.1,
        learned_pos=True,
        final_norm=False,
        rel_pos='block',
        layer_scale=1.0,
        out_indices=(3, 5, 7, 11),
        init_cfg=dict(
            type='Pretrained',
            checkpoint='work_dirs/mae_vit-base-p16_8xb512-amp-coslr-1600e_in1k/epoch_1600.pth',
            prefix='backbone.',
        ),
    ),
    neck=dict(_delete_=True, type='mim_zoo.TapPyramid', in_channels=768),
)

optim_wrapper = dict(
    paramwise_cfg=dict(layer_decay_rate=0.65, no_decay_names=('pos_embed', 'cls_token'))
)
