# 20 nearest neighbours on frozen features of MixMIM-B (2104.14294), ImageNet
#   tools/dist_test.sh configs/imagenet/mixmim-base-w14_knn_in1k.py PRE_TRAINED.pth 8
# PRE_TRAINED.pth: of pre-training, or an official encoder after convert_checkpoint.py.
# Hardware: any; the time of one pass over the training images.
# Expected: no published number for MixMIM. Prints knn_top1 (0 to 1); nothing is trained.
_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/datasets/imagenet_knn.py',
]

model = dict(
    type='FeatureExtractor',
    backbone=dict(type='MixMIMViT', arch='base', img_size=224),
    data_preprocessor=dict(type='MIMDataPreprocessor'),
)
