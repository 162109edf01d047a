# DeepMIM (2303.08817) over MixMIM (2205.13137), MixMIM-B, 300 epochs on ImageNet
#   NNODES=2 NODE_RANK=0 MASTER_ADDR=10.0.0.1 tools/dist_train.sh configs/deepmim/deepmim_mixmim-base-w14_16xb128-amp-coslr-300e_in1k.py 8
# Hardware: 16 GPUs, batch 2048, with another number add --auto-scale-lr; memory and hours:
# not measured by us.
# Expected: no number known to us; nobody has published this product. Supervised are two
# depths of the third stage, averaged over each cell of the predictions, and the last block.
_base_ = '../mixmim/mixmim_mixmim-base-w14_16xb128-amp-coslr-300e_in1k.py'

model = dict(
    type='DeepMIM',
    neck=dict(outputs=[[12], [21], [23]]),
    head=dict(decoder=dict(depth=4)),  # half of MixMIM's
)
