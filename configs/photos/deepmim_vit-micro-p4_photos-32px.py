# DeepMIM (2303.08817) on pixels, ViT-micro, on photographs
#   python tools/train.py configs/photos/deepmim_vit-micro-p4_photos-32px.py
# Nothing to download. Hardware: 2 CPU cores, TODO
# The same as MAE but for the outputs that decoders get.
_base_ = './mae_vit-micro-p4_photos-32px.py'

model = dict(type='DeepMIM', neck=dict(outputs=[[2], [3], [4], [5]]))
