"""Running: the runner and its loops, hooks, optimizers, checkpoints."""

from .amp import AmpOptimWrapper
from .checkpoint import SafeCheckpointHook, newest_whole_checkpoint
from .hooks import ProgressHook
from .lars import LARS
from .layer_decay import LayerDecayConstructor
from .loops import EpochTrainLoop, TestLoop, ValLoop
from .resuming import ResumeStateHook
from .runner import ZooRunner
from .schedulers import StagedCosineLR

__all__ = [
    'LARS',
    'AmpOptimWrapper',
    'EpochTrainLoop',
    'LayerDecayConstructor',
    'ProgressHook',
    'ResumeStateHook',
    'SafeCheckpointHook',
    'StagedCosineLR',
    'TestLoop',
    'ValLoop',
    'ZooRunner',
    'newest_whole_checkpoint',
]
