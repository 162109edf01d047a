"""Encoders, corruption, necks, decoders, targets, losses and what joins them."""

from .base import EncoderModel, FeatureExtractor
from .classifier import BatchAugment, Classifier
from .corruption import DropPatches, MaskPatches, MixImages
from .data_preprocessor import MIMDataPreprocessor
from .decoders import Decoder, LinearDecoder, TransformerDecoder
from .encoder import Encoder
from .head import MIMHead
from .losses import MaskedCosine, MaskedL1, MaskedMSE, MaskedSmoothL1
from .mim import DBOT, MAE, MFF, MIM, DeepMIM, MixMIM, PixMIM
from .mixmim_vit import MixMIMViT
from .necks import LevelFusion
from .pyramid import ChannelNorm, SimpleFeaturePyramid, TapNorm, TapPyramid
from .targets import (
    EncoderTeacher,
    HOGTarget,
    HybridTarget,
    LowPassTarget,
    PixelTarget,
    TeacherTarget,
    TimmTeacher,
)
from .vit import MIMViT

__all__ = [
    'DBOT',
    'MAE',
    'MFF',
    'MIM',
    'BatchAugment',
    'ChannelNorm',
    'Classifier',
    'Decoder',
    'DeepMIM',
    'DropPatches',
    'Encoder',
    'EncoderModel',
    'EncoderTeacher',
    'FeatureExtractor',
    'HOGTarget',
    'HybridTarget',
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
    'SimpleFeaturePyramid',
    'TapNorm',
    'TapPyramid',
    'TeacherTarget',
    'TimmTeacher',
    'TransformerDecoder',
]
