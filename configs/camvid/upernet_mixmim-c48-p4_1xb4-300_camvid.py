# UperNet on CamVid, a small MixMIM encoder, its three maps
#   python tools/train.py configs/folder/mixmim_mixmim-c48-p4_1xb64-coslr-4e_folder-128px.py \
#       --work-dir work_dirs/mixmim_camvid --cfg-options data_root=/path/to/camvid/images/train \
#       model.head.target.normalize=False optim_wrapper.optimizer.lr=2e-3
#   python tools/train.py configs/camvid/upernet_mixmim-c48-p4_1xb4-300_camvid.py \
#       --cfg-options data_root=/path/to/camvid
# From scratch: --cfg-options model.backbone.init_cfg=None
# Hardware: 1 of 2 CPU cores, 6 min 30 s (Intel Xeon), 9 min beside others (AMD EPYC).
# Expected (measured, seeds 0 / 1): 21.2 / 20.7 mIoU after pre-training, 17.8 / 19.9 from
# scratch.
_base_ = [
    '../_base_/models/upernet_small.py',
    '../_base_/datasets/camvid.py',
    '../_base_/schedules/camvid.py',
    '../_base_/runtimes/mmseg.py',
]

model = dict(
    backbone=dict(
        _delete_=True,
        type='mim_zoo.MixMIMViT',
        arch=dict(
            embed_dim=48,
            depths=(1, 4, 1),
            num_heads=(2, 4, 8),
            windows=(8, 8, 8),
            patch_size=4,
        ),
        img_size=256,
        out_indices=(0, 1, 2),
        init_cfg=dict(
            type='Pretrained',
            checkpoint='work_dirs/mixmim_camvid/epoch_4.pth',
            prefix='backbone.',
        ),
    ),
    neck=dict(type='mim_zoo.TapNorm', channels=(48, 96, None)),
    decode_head=dict(in_channels=[48, 96, 192], in_index=[0, 1, 2]),
    auxiliary_head=dict(in_channels=96, in_index=1),
)
