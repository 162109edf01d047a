"""One process at a time, by locked files; POSIX only."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def locked(file: Path, wait: bool) -> Iterator[int]:
    """Keep other processes out that lock the same file; it and its folder are made.

    Gives a descriptor; a process that inherits it keeps the lock until it ends too.
    BlockingIOError, unless ``wait``, if another has the lock.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open('a') as handle:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield handle.fileno()
