"""One value that moves the data of a whole config."""

from collections.abc import Mapping
from typing import Any

PLACE = '{data_root}'


def fill_data_root(part: Any, cfg: Mapping[str, Any]) -> Any:
    """A copy of ``part`` of ``cfg`` with '{data_root}' replaced by ``cfg.data_root``.

    Filled in as late as the data is opened, the place moves with every way to set the
    value: ``--cfg-options data_root=...``, a config that inherits, ``cfg.data_root``.
    The config itself, and what is dumped of it, keep '{data_root}'. Raises ValueError
    if there is nothing to fill in, or if ``data_root`` is set and no data set uses it.
    """
    root = cfg.get('data_root')
    rest = {key: value for key, value in cfg.items() if key != 'data_root'}
    if root is not None and not _reads_root(rest, str(root).rstrip('/')):
        raise ValueError(
            f'data_root is {root!r}, but no data set of this config takes a data_root, '
            'or begins with it, so it would be ignored. Fix: on the command line, '
            '--cfg-options data_root=... moves the data of a config of mmdet or mmseg; '
            'in a config, set it to where its data sets are, or have them say '
            f"'{PLACE}/...' as those in configs/cifar10 do."
        )
    return _filled(part, None if root is None else str(root).rstrip('/') or '/')


def move_data(cfg: Any, old: str) -> None:
    """Point data sets and metrics that begin with the folder ``old`` to ``data_root``.

    For configs of mmdet and mmseg, which write the value of ``data_root`` into each of
    them, so that another one on the command line would move nothing. Raises ValueError
    if ``data_root`` is no folder's name.
    """
    new = cfg.data_root
    if not isinstance(new, str) or not new:
        raise ValueError(f'data_root: got {new!r}, expected the path of a folder')
    if not old.strip('./'):  # every path begins with it
        return
    for key in list(cfg):
        if str(key).endswith(('dataloader', 'evaluator')):
            cfg[key] = _moved(cfg[key], old.rstrip('/'), new.rstrip('/') or '/')


def _moved(part: Any, old: str, new: str) -> Any:
    if isinstance(part, str):
        inside = part == old or part.startswith(old + '/')
        return new + part[len(old) :] if inside else part
    if isinstance(part, dict):
        return type(part)({key: _moved(value, old, new) for key, value in part.items()})
    if isinstance(part, list | tuple):
        return type(part)(_moved(value, old, new) for value in part)
    return part


def _filled(part: Any, root: str | None) -> Any:
    if isinstance(part, str) and PLACE in part:
        if root is None:
            raise ValueError(
                f"{part!r}: the config's top-level data_root is not set. Fix: set it, "
                'e.g. --cfg-options data_root=/path/to/images'
            )
        return part.replace(PLACE, root)
    if isinstance(part, dict):
        return type(part)({key: _filled(value, root) for key, value in part.items()})
    if isinstance(part, list | tuple):
        return type(part)(_filled(value, root) for value in part)
    return part


def _reads_root(part: Any, root: str) -> bool:
    """Whether '{data_root}', or a path in ``root``, is said anywhere below."""
    if isinstance(part, Mapping):
        return any(_reads_root(value, root) for value in part.values())
    if isinstance(part, list | tuple):
        return any(_reads_root(value, root) for value in part)
    inside = isinstance(part, str) and f'{part}/'.startswith(f'{root}/')
    return inside or (isinstance(part, str) and PLACE in part)
