"""Settings, places and numbers in words, the same in every table."""

from collections.abc import Mapping
from typing import Any


def compiled(given: Mapping[str, Any]) -> list[str]:
    """What of a model was compiled, if anything."""
    return [f'{given["compile"]} compiled'] if given['compile'] else []


def device_name(machine: Mapping[str, Any]) -> str:
    """The GPU if it was measured on one, else the processor."""
    return machine['gpu'] or machine['cpu']


def spread(speed: Mapping[str, float]) -> str:
    """The median, and in brackets from the least to the most."""
    return f'{speed["median"]:.2f} ({ends(speed)})'


def ends(speed: Mapping[str, float]) -> str:
    """From the least to the most."""
    return f'{speed["min"]:.2f} to {speed["max"]:.2f}'


def or_dash(value: float | None, form: str) -> str:
    """The number in that form, a dash if there is none."""
    return '-' if value is None else format(value, form)
