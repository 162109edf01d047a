"""Hooks, one file each."""

from .progress import ProgressHook

__all__ = ['ProgressHook']
