"""Hooks, one file each."""

from .agreement import DataAgreementHook
from .compile_blocks import CompileBlocksHook
from .learning import ExplainedShareHook, FusionWeightsHook, KNNHook
from .non_finite import NonFiniteLossError, NonFiniteLossHook
from .num_classes import NumClassesHook
from .picture import ReconstructionHook
from .progress import ProgressHook
from .runtime_info import LazyRuntimeInfoHook
from .seed import SeedHook
from .summary import LearningSummaryHook
from .teacher import BootstrapHook, MomentumTeacherHook
from .unreadable import UnreadableFilesHook

__all__ = [
    'BootstrapHook',
    'CompileBlocksHook',
    'DataAgreementHook',
    'ExplainedShareHook',
    'FusionWeightsHook',
    'KNNHook',
    'LazyRuntimeInfoHook',
    'LearningSummaryHook',
    'MomentumTeacherHook',
    'NonFiniteLossError',
    'NonFiniteLossHook',
    'NumClassesHook',
    'ProgressHook',
    'ReconstructionHook',
    'SeedHook',
    'UnreadableFilesHook',
]
