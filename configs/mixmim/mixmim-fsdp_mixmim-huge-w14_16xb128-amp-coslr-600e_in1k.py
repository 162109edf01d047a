# MixMIM (MixMAE, 2205.13137), MixMIM-H, 600 epochs on ImageNet: two nodes of 8 GPUs, the
# weights sharded over all 16, the encoder's activations recomputed. On each node, with
# NODE_RANK 0 and 1 and the address of the first:
#   NNODES=2 NODE_RANK=0 MASTER_ADDR=10.0.0.1 tools/dist_train.sh configs/mixmim/mixmim-fsdp_mixmim-huge-w14_16xb128-amp-coslr-600e_in1k.py 8
# or GPUS=16 tools/slurm_train.sh PARTITION JOB CONFIG WORK_DIR.
# Hardware: 16 GPUs, PyTorch 2.6; with another number add --auto-scale-lr; memory and
# hours: computed in docs/scale.md, not measured.
# Expected: no published number.
_base_ = './mixmim_mixmim-huge-w14_16xb128-amp-coslr-600e_in1k.py'

model_wrapper_cfg = dict(type='mim_zoo.FullyShard')
model = dict(backbone=dict(with_cp=True))
