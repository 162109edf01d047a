"""What is predicted."""

from .base import Frozen, Target
from .hog import HOGTarget
from .hybrid import HybridTarget
from .pixels import (
    LowPassTarget,
    PixelTarget,
    low_pass,
    low_pass_disc,
    patchify,
    unpatchify,
)
from .teacher import TeacherTarget
from .teachers import EncoderTeacher, Teacher, TimmTeacher

__all__ = [
    'EncoderTeacher',
    'Frozen',
    'HOGTarget',
    'HybridTarget',
    'LowPassTarget',
    'PixelTarget',
    'Target',
    'Teacher',
    'TeacherTarget',
    'TimmTeacher',
    'low_pass',
    'low_pass_disc',
    'patchify',
    'unpatchify',
]
