# ViT-micro on scikit-learn's digits from random weights, to compare fine-tuning with
#   python tools/train.py configs/digits/vit-micro-p4_scratch_digits-32px.py
# Hardware: 2 CPU cores, minutes. Expected: no number yet.
_base_ = './vit-micro-p4_finetune_digits-32px.py'

model = dict(backbone=dict(init_cfg=None))
optim_wrapper = dict(paramwise_cfg=dict(layer_decay_rate=1.0))
