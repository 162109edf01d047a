"""What every trained model shares: an encoder, and a preprocessor that knows it."""

from typing import Any

from mmengine.model import BaseModel, is_model_wrapper
from torch import Tensor, nn

from mim_zoo.registry import MODELS

from .encoder import Encoder, load_pretrained, pool_tokens


class EncoderModel(BaseModel):
    """Builds the encoder first and tells the data preprocessor its facts.

    A batch that is ``{}``, of which every image was unreadable, predicts nothing.

    Args:
        pool: of ``extract_feat``, 'avg' or 'cls'.
    """

    backbone: Encoder

    def __init__(
        self,
        backbone: dict,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
        pool: str = 'avg',
    ):
        encoder = MODELS.build(backbone)
        preprocessor = MODELS.build(
            data_preprocessor or dict(type='MIMDataPreprocessor'),
            default_args=dict(stride=encoder.stride, in_channels=encoder.in_channels),
        )
        super().__init__(preprocessor, init_cfg)
        self.backbone = encoder
        self.pool = pool

    def init_weights(self) -> None:
        """Load what the encoder's or the whole model's ``init_cfg`` names.

        Random weights were drawn by the constructors; MMEngine's own way through all
        modules would only log every parameter.
        """
        self.backbone.init_weights()
        if not load_pretrained(self) and self.init_cfg:
            super().init_weights()

    def val_step(self, data: dict) -> list:
        """One record per image of the batch."""
        return super().val_step(data) if data else []

    def test_step(self, data: dict) -> list:
        """One record per image of the batch."""
        return super().test_step(data) if data else []

    def extract_feat(self, inputs: Tensor, pool: str | None = None) -> Tensor:
        """Pooled features (B, C) of whole normalised images (B, C_in, H, W)."""
        x = self.backbone.forward_features(inputs)
        return pool_tokens(x, self.backbone.num_prefix_tokens, pool or self.pool)

    def extract_block_feats(
        self, inputs: Tensor, pool: str | None = None
    ) -> list[Tensor]:
        """Pooled features (B, C_i) after every block.

        The last block's are ``extract_feat``'s, the others pass no norm.
        """
        encoder, last = self.backbone, len(self.backbone.levels) - 1
        tokens, pos = encoder.embed(inputs)
        taps = range(last + 1)
        outputs = encoder.encode(tokens + pos, taps, inputs.shape[-2:])
        outputs[last] = encoder.norm(outputs[last])
        prefix = encoder.num_prefix_tokens
        return [pool_tokens(outputs[i], prefix, pool or self.pool) for i in taps]


@MODELS.register_module()
class FeatureExtractor(EncoderModel):
    """An encoder and nothing more, for ``KNNHook`` and other uses of its features."""

    def forward(
        self, inputs: Tensor, data_samples: dict | None = None, mode: str = 'tensor'
    ) -> Any:
        """'tensor': features (B, C). 'predict': what is known of each image."""
        if mode == 'tensor':
            return self.extract_feat(inputs)
        if mode != 'predict':
            raise ValueError(f'mode: got {mode!r}, expected tensor or predict')
        return add_samples([{} for _ in inputs], data_samples)


def unwrap(model: nn.Module) -> Any:
    """The model inside a DDP or other wrapper."""
    return model.module if is_model_wrapper(model) else model


def add_samples(records: list[dict], data_samples: dict | None) -> list[dict]:
    """Records, one per image, with what the batch says of each image added."""
    for key, values in (data_samples or {}).items():
        for record, value in zip(records, values):
            record[key] = value
    return records
