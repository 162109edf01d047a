# dBOT (2209.03917), two stages, ViT-micro, on photographs
#   python tools/train.py configs/photos/dbot_vit-micro-p4_photos-32px.py
# Nothing to download. Hardware: 2 CPU cores, 3 min 37 s beside other work.
# Expected (measured, seed 0): held-out explained share 0.892 (of the features of the first
# stage's student); kNN 0.669, untrained 0.660, of which MAE's config says why it says
# little. The target is no image: there are no pictures of it.
_base_ = './mae_vit-micro-p4_photos-32px.py'

model = dict(
    type='DBOT',
    head=dict(
        target=dict(_delete_=True, type='TeacherTarget', norm=False, normalize=True),
        loss=dict(type='MaskedSmoothL1', beta=2.0),
        score_prefix=True,
    ),
)

param_scheduler = [
    dict(type='StagedCosineLR', warmup=1, boundaries=[6], convert_to_iter_based=True),
]
default_hooks = dict(staging=dict(type='BootstrapHook', boundaries=[6]))
