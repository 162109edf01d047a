"""mim_zoo: masked image modelling on MMEngine."""

from .version import __version__

__all__ = ['__version__']
