# MFF (2308.00261), ViT-micro, on the photographs that scikit-image and scikit-learn ship
#   python tools/train.py configs/photos/mff_vit-micro-p4_photos-32px.py
# Nothing to download. Hardware: 2 CPU cores; not measured yet. Expected: not measured yet.
# The same as MAE but for the levels that the decoder gets.
_base_ = './mae_vit-micro-p4_photos-32px.py'

model = dict(type='MFF', neck=dict(outputs=[[0, 2, 4, 5]]))
