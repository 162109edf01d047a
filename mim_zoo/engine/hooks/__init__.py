"""Hooks, one file each."""

from .progress import ProgressHook
from .unreadable import UnreadableFilesHook

__all__ = ['ProgressHook', 'UnreadableFilesHook']
