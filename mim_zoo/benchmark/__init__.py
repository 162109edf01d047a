"""Measuring: time and memory, of ours and of others, side by side."""

from .compare import Schedule, compare_steps, ratios
from .sides import Side, our_side, peer_side
from .step import Stepper, Work

__all__ = [
    'Schedule',
    'Side',
    'Stepper',
    'Work',
    'compare_steps',
    'our_side',
    'peer_side',
    'ratios',
]
