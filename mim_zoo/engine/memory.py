"""How the process keeps its memory."""

import ctypes
import os
import sys

# of glibc's malloc.h
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
LARGEST = 32 * 2**20  # bytes that glibc lets the heap serve at most
KEPT = 2**31 - 1  # of freed memory at the end of the heap


def keep_freed_memory() -> bool:
    """Let glibc keep what a step frees for the next one; whether it does.

    By default it returns large blocks to the kernel, which hands them out again page by
    page, cleared: on a CPU a part of every step. Somebody's own settings, in
    ``MALLOC_TRIM_THRESHOLD_``, ``MALLOC_MMAP_THRESHOLD_`` or ``GLIBC_TUNABLES``, stay.
    """
    own = ('MALLOC_TRIM_THRESHOLD_', 'MALLOC_MMAP_THRESHOLD_', 'GLIBC_TUNABLES')
    if not sys.platform.startswith('linux') or any(name in os.environ for name in own):
        return False
    mallopt = getattr(ctypes.CDLL(None), 'mallopt', None)  # musl has none
    if mallopt is None:
        return False
    return bool(mallopt(MMAP_THRESHOLD, LARGEST) and mallopt(TRIM_THRESHOLD, KEPT))
