"""How a command ends when its user has to change something: with a message."""

import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from .datasets import TooManyUnreadableError
from .engine.hooks import NonFiniteLossError
from .paths import PACKAGE

# What mim_zoo raises when a user has to change something.
MISTAKES = (ValueError, TooManyUnreadableError, NonFiniteLossError)
# How torch words an exception of a DataLoader's worker: its traceback, as text.
_IN_WORKER = re.compile(
    r'Caught \w+ in DataLoader worker.*\n  File "(?P<file>[^"\n]+)", line \d+, in .*?\n'
    r'(?:    [^\n]*\n)*[\w.]+: (?P<message>.*)',
    re.DOTALL,
)


def fail(message: str) -> NoReturn:
    """End the command with one line on stderr and exit status 1."""
    raise SystemExit(f'error: {message}')


@contextmanager
def plain_errors(debug: bool = False) -> Iterator[None]:
    """End the command with what mim_zoo says is wrong, without a traceback.

    Any other exception keeps its traceback; with ``debug`` all do.
    """
    try:
        yield
    except MISTAKES as error:
        message = None if debug else _own_message(error)
        if message is None:
            raise
        fail(message)


def _own_message(error: BaseException) -> str | None:
    """The message raised by code of ours, also in a loader's worker; else None."""
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, MISTAKES):
            text = str(link)
            if in_worker := _IN_WORKER.fullmatch(text):
                file, text = in_worker['file'], in_worker['message']
            else:
                file = traceback.extract_tb(link.__traceback__)[-1].filename
            if PACKAGE in Path(file).resolve().parents:
                return text.strip()
        link = link.__cause__ or link.__context__
    return None
