"""mim_zoo: masked image modelling on MMEngine."""

from importlib import import_module
from typing import Any

from .mmcv_ops import install
from .version import __version__

__all__ = ['__version__', 'extract_features', 'get_model', 'list_models']

install()


def __getattr__(name: str) -> Any:
    """The functions of ``mim_zoo.apis``, which import torch only when asked for."""
    if name in __all__:
        return getattr(import_module('.apis', __name__), name)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
