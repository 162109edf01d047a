# Few-shot: fine-tuning MixMIM-B on 1% of ImageNet's labels
#   tools/dist_train.sh \
#       configs/imagenet/mixmim-base-w14_8xb128-amp-coslr-100e_in1k-1percent.py 8 \
#       --cfg-options model.backbone.init_cfg.checkpoint=PRE_TRAINED.pth
# The list, one file per line, is SimCLR's (2002.05709; 12,811 images), to be
# put at data/imagenet/meta/train_1percent.txt.
# Hardware: 8 GPUs; hours: about 1% of those of fine-tuning on all labels.
# Expected: unknown. No recipe is published for MixMIM; this is the one for all labels
# unchanged, a place to start from: tune lr and max_epochs.
_base_ = './mixmim-base-w14_8xb128-amp-coslr-100e_in1k.py'

train_dataloader = dict(dataset=dict(list_file='{data_root}/meta/train_1percent.txt'))
