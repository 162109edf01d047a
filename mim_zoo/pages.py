"""Pages with parts that programs write."""

import re
from pathlib import Path

from .paths import write_text


def fill(text: str, name: str, body: str) -> str:
    """The page with ``body`` between ``<!-- NAME -->`` and ``<!-- /NAME -->``.

    Raises ValueError if it has no such pair of lines, or several.
    """
    begin, end = f'<!-- {name} -->\n', f'<!-- /{name} -->'
    pattern = re.compile(f'{re.escape(begin)}.*?{re.escape(end)}', re.DOTALL)
    if len(pattern.findall(text)) != 1:
        raise ValueError(
            f'the page has {len(pattern.findall(text))} parts named {name}, expected '
            f'one, between the lines {begin.strip()} and {end}'
        )
    filled = f'{begin}{body.rstrip()}\n{end}'
    return pattern.sub(lambda _: filled, text)


def fill_file(file: Path, name: str, body: str) -> bool:
    """Write it into the file; whether that changed anything."""
    text = file.read_text(encoding='utf-8')
    filled = fill(text, name, body)
    if filled != text:
        write_text(file, filled)
    return filled != text
