# DeepMIM (2303.08817) on pixels, ViT-micro, on photographs
#   python tools/train.py configs/photos/deepmim_vit-micro-p4_photos-32px.py
# Nothing to download. Hardware: 2 CPU cores, 4 min 12 s beside other work.
# Expected (measured, seed 0): held-out explained share 0.442 (mean of the outputs); kNN
# 0.711, untrained 0.660, of which MAE's config says why it says little.
# The same as MAE but for the outputs that decoders get.
_base_ = './mae_vit-micro-p4_photos-32px.py'

model = dict(type='DeepMIM', neck=dict(outputs=[[2], [3], [4], [5]]))
