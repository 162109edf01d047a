"""The configs of the project, and what is inside a config."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

CONFIGS = Path(__file__).parents[1] / 'configs'
DOWNSTREAM = ('coco', 'nuclei', 'ade20k', 'camvid')  # run in tests/downstream


def name_of(path: Path) -> str:
    """The path below ``configs``, without its ending."""
    return str(path.relative_to(CONFIGS).with_suffix(''))


def dicts(node: Any) -> Iterator[dict]:
    """Every dict at or below a node."""
    if isinstance(node, dict):
        yield node
        node = list(node.values())
    if isinstance(node, list | tuple):
        for child in node:
            yield from dicts(child)
