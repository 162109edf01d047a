"""Measuring: time and memory, of ours and of others, side by side."""

from .compare import Schedule, compare, ratios
from .encoder import EncoderPass, EncoderWork
from .measured import Measured, Work
from .sides import Side, encoder_side, our_side, peer_side
from .step import Stepper

__all__ = [
    'EncoderPass',
    'EncoderWork',
    'Measured',
    'Schedule',
    'Side',
    'Stepper',
    'Work',
    'compare',
    'encoder_side',
    'our_side',
    'peer_side',
    'ratios',
]
