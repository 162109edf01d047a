"""Running: the runner and its loops, hooks, optimizers, checkpoints."""

from .amp import AmpOptimWrapper
from .hooks import ProgressHook
from .lars import LARS
from .layer_decay import LayerDecayConstructor

__all__ = ['LARS', 'AmpOptimWrapper', 'LayerDecayConstructor', 'ProgressHook']
