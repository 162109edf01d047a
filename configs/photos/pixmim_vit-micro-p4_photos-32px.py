# PixMIM (2303.02416), ViT-micro, on the photographs that scikit-image and scikit-learn
# ship
#   python tools/train.py configs/photos/pixmim_vit-micro-p4_photos-32px.py
# Nothing to download. Hardware: 2 CPU cores, 1 min 21 s.
# Expected (measured, seed 0): held-out explained share 0.489 of what the filter leaves;
# kNN 0.758, untrained 0.660, of which MAE's config says why it says little.
# The same as MAE but for the target. MAE's crop stays: PixMIM's keeps the whole object in
# view, and windows of 96 px cut at fixed places have none.
_base_ = './mae_vit-micro-p4_photos-32px.py'

model = dict(
    type='PixMIM',
    head=dict(
        # at 32 px the radius is 5.7
        target=dict(_delete_=True, type='LowPassTarget', radius=40, normalize=True)
    ),
)
