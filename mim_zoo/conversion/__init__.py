"""Weights from and to the official MAE code, timm, mmpretrain and mmselfsup."""

from .names import (
    FORMATS,
    Conversion,
    convert,
    from_ours,
    guess_format,
    recognise,
    to_ours,
)

__all__ = [
    'FORMATS',
    'Conversion',
    'convert',
    'from_ours',
    'guess_format',
    'recognise',
    'to_ours',
]
