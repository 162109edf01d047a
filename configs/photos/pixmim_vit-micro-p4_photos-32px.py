# PixMIM, ViT-micro, on the photographs that scikit-image and scikit-learn ship
#   python tools/train.py configs/photos/pixmim_vit-micro-p4_photos-32px.py
# Nothing to download. Hardware: 2 CPU cores; not measured yet. Expected: not measured yet.
# The same as MAE but for the target; its crop stays, since a window of 32 px leaves
# nothing to resize.
_base_ = './mae_vit-micro-p4_photos-32px.py'

model = dict(
    type='PixMIM',
    head=dict(
        target=dict(_delete_=True, type='LowPassTarget', radius=40, normalize=True)
    ),
)
