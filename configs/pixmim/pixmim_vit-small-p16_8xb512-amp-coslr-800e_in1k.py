# PixMIM (2303.02416), ViT-S/16, 800 epochs on ImageNet: all else as for ViT-B
#   tools/dist_train.sh configs/pixmim/pixmim_vit-small-p16_8xb512-amp-coslr-800e_in1k.py 8
# Hardware: 8 GPUs, with another number add --auto-scale-lr; memory and hours: not
# measured by us.
# Expected: no number known to us; the decoder is that of ViT-B, as in MAE's sizes.
_base_ = './pixmim_vit-base-p16_8xb512-amp-coslr-800e_in1k.py'

model = dict(backbone=dict(arch='small'))
