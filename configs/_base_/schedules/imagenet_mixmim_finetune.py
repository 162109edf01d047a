# MixMIM's fine-tuning schedule (2205.13137): MAE's with another layer decay. Nothing is
# exempt from weight decay but biases and parameters of one dimension, so the tables of
# relative positions are decayed; absolute positions are not trained.
# Here the last block learns at 0.7 of the rate and the head at all of it. Officially the
# head and the final norm learn at 0.7 too, and nothing at all of it:
#   --cfg-options optim_wrapper.paramwise_cfg.head_with_last_block=True
_base_ = './imagenet_finetune.py'

optim_wrapper = dict(
    paramwise_cfg=dict(_delete_=True, layer_decay_rate=0.7, head_with_last_block=False)
)
