# MAE, ViT-small, on your own images
#   python tools/train.py configs/folder/mae_vit-small-p16_1xb256-amp-coslr-200e_folder-224px.py \
#       --cfg-options data_root=/path/to/images --auto-scale-lr
# Hardware: one GPU; with several, tools/dist_train.sh. Hours: by your images.
# Expected: no number of ours. Watch the held-out explained share: it starts below 0
# and rises while the model learns.
_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/datasets/folder_224px.py',
    '../_base_/schedules/imagenet_mae.py',
]

model = dict(
    type='MAE',
    backbone=dict(type='MIMViT', arch='small', img_size=224, patch_size=16),
    corruption=dict(type='DropPatches'),
    neck=dict(type='LevelFusion', outputs=[[-1]]),
    head=dict(
        type='MIMHead',
        target=dict(type='PixelTarget', normalize=True),
        decoder=dict(type='TransformerDecoder', embed_dim=256, depth=4, num_heads=8),
        loss=dict(type='MaskedMSE'),
    ),
    data_preprocessor=dict(
        type='MIMDataPreprocessor',
        batch_transforms=[dict(type='RandomMasking', ratio=0.75)],
    ),
)

# 2.4e-3 is for a batch of 4096; this is the same rate per image at 256
optim_wrapper = dict(optimizer=dict(lr=1.5e-4))
auto_scale_lr = dict(base_batch_size=256)
train_cfg = dict(max_epochs=200, val_interval=10)
