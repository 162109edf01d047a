# MFF (2308.00261), ViT-micro, on the photographs that scikit-image and scikit-learn ship
#   python tools/train.py configs/photos/mff_vit-micro-p4_photos-32px.py
# Nothing to download. Hardware: 2 CPU cores, 1 min 18 s.
# Expected (measured, seed 0): held-out explained share 0.444; kNN 0.687, untrained 0.660,
# of which MAE's config says why it says little.
# The same as MAE but for the levels that the decoder gets.
_base_ = './mae_vit-micro-p4_photos-32px.py'

model = dict(type='MFF', neck=dict(outputs=[[0, 2, 4, 5]]))
