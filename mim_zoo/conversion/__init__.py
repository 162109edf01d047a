"""Weights from and to official MAE and MixMIM, timm, mmpretrain and mmselfsup."""

from .names import (
    FORMATS,
    TITLES,
    Conversion,
    convert,
    from_ours,
    guess_format,
    recognise,
    to_ours,
)

__all__ = [
    'FORMATS',
    'TITLES',
    'Conversion',
    'convert',
    'from_ours',
    'guess_format',
    'recognise',
    'to_ours',
]
