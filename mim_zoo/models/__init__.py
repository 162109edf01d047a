"""Encoders, corruption, necks, decoders, targets, losses and what joins them."""

from .base import EncoderModel, FeatureExtractor
from .classifier import BatchAugment, Classifier
from .corruption import DropPatches, MaskPatches, MixImages
from .data_preprocessor import MIMDataPreprocessor
from .decoders import LinearDecoder, TransformerDecoder
from .encoder import Encoder
from .head import MIMHead
from .losses import MaskedCosine, MaskedL1, MaskedMSE, MaskedSmoothL1
from .mim import MAE, MFF, MIM, MixMIM, PixMIM
from .mixmim_vit import MixMIMViT
from .necks import LevelFusion
from .targets import LowPassTarget, PixelTarget
from .vit import MIMViT

__all__ = [
    'MAE',
    'MFF',
    'MIM',
    'BatchAugment',
    'Classifier',
    'DropPatches',
    'Encoder',
    'EncoderModel',
    'FeatureExtractor',
    'LevelFusion',
    'LinearDecoder',
    'LowPassTarget',
    'MIMDataPreprocessor',
    'MIMHead',
    'MIMViT',
    'MaskPatches',
    'MaskedCosine',
    'MaskedL1',
    'MaskedMSE',
    'MaskedSmoothL1',
    'MixImages',
    'MixMIM',
    'MixMIMViT',
    'PixMIM',
    'PixelTarget',
    'TransformerDecoder',
]
