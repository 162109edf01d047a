# MAE, ViT-B/16, 1600 epochs on ImageNet: twice the length, all else as for 800
#   tools/dist_train.sh configs/mae/mae_vit-base-p16_8xb512-amp-coslr-1600e_in1k.py 8
# Hardware: as for 800 epochs; hours: twice those.
# Expected top-1: 83.6 fine-tuned, 68.0 linear probe (paper).
_base_ = './mae_vit-base-p16_8xb512-amp-coslr-800e_in1k.py'

train_cfg = dict(max_epochs=1600)
