# MixMIM's pre-training schedule (2205.13137): MAE's for half its batch, base rate
# 1.5e-4 x 2048 / 256.
_base_ = './imagenet_mae.py'

optim_wrapper = dict(optimizer=dict(lr=1.2e-3))
train_cfg = dict(max_epochs=600)
auto_scale_lr = dict(base_batch_size=2048)
