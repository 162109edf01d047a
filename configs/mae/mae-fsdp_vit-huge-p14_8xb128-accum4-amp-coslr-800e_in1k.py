# MAE, ViT-H/14, 800 epochs on ImageNet: the same batch of 4096 on one node of 8 GPUs, the
# weights sharded over them and the encoder's activations recomputed
#   tools/dist_train.sh configs/mae/mae-fsdp_vit-huge-p14_8xb128-accum4-amp-coslr-800e_in1k.py 8
# Hardware: 8 GPUs, PyTorch 2.6; with another number add --auto-scale-lr. Computed in
# docs/scale.md, not measured: on each 1.2 GiB of state and 128 x 50 MiB of activations,
# 7.5 GiB together, and what comes on top; hours.
# Expected top-1: not published for 800 epochs.
_base_ = './mae_vit-huge-p14_8xb512-amp-coslr-800e_in1k.py'

model_wrapper_cfg = dict(type='mim_zoo.FullyShard')
model = dict(backbone=dict(with_cp=True))
optim_wrapper = dict(accumulative_counts=4)
train_dataloader = dict(batch_size=128)
