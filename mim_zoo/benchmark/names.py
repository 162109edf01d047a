"""What a config's name says, METHOD_ENCODER-SIZE[-p16]_8xb512-...: OpenMMLab's, too."""

import re
from typing import NamedTuple

_SCHEDULE = re.compile(r'_(\d+)xb\d+')
_MODEL = re.compile(
    r'(?P<family>(?P<method>[a-z0-9-]+)_[a-z]+-(?P<size>[a-z]+))(-[a-z]\d+)?'
)


class ConfigName(NamedTuple):
    """A name without its schedule, and its parts, where it has them.

    Of mae_vit-base-p16_8xb512-...: mae_vit-base-p16, 8, mae_vit-base, mae, base.
    """

    model: str
    gpus: int | None = None
    family: str | None = None
    method: str | None = None
    size: str | None = None


def read_name(stem: str) -> ConfigName:
    """The parts of a file's name, without its ending."""
    found = _SCHEDULE.search(stem)
    if found is None:
        return ConfigName(stem)
    model = stem[: found.start()]
    parts = _MODEL.fullmatch(model)
    return ConfigName(model, int(found[1]), **parts.groupdict() if parts else {})
