"""How the process keeps its memory."""

import ctypes
import os
import sys

TRIM_THRESHOLD, MMAP_MAX = -1, -4  # of glibc's malloc.h
NEVER, NONE = -1, 0
OWN = (
    'GLIBC_TUNABLES',
    'MALLOC_TRIM_THRESHOLD_',
    'MALLOC_MMAP_MAX_',
    'MALLOC_MMAP_THRESHOLD_',
)


def keep_freed_memory() -> bool:
    """Let glibc keep what a step frees for the next one; whether it does.

    By default it returns large blocks to the kernel, which hands them out again page by
    page, cleared: on a CPU a part of every step. Now every block comes from the heap,
    and the heap does not shrink. Somebody's own settings, in one of the variables
    ``OWN``, stay.
    """
    if not sys.platform.startswith('linux') or any(name in os.environ for name in OWN):
        return False
    mallopt = getattr(ctypes.CDLL(None), 'mallopt', None)  # musl has none
    if mallopt is None:
        return False
    return bool(mallopt(MMAP_MAX, NONE) and mallopt(TRIM_THRESHOLD, NEVER))
