"""Reading weights safely, and loading them with a report that cannot be missed.

A file is read without running code from it (``weights_only=True``, or safetensors);
a model that gets less of its weights than asked for is an error, never a warning.
"""

from __future__ import annotations

import pickle
import re
import zipfile
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import lru_cache
from logging import Logger
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from mmengine.logging import HistoryBuffer, print_log
from mmengine.model import is_model_wrapper
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ..paths import whole_file

StateDict = dict[str, Tensor]

# What torch says when a pickle asks for something that is not plain data.
_REFUSED = re.compile(
    r'GLOBAL ([\w.]+)|unrecognized function (.+)|Can only (?:create|build)'
)
_SHOWN = 8  # names shown per list of a report


def read_checkpoint(path: str | Path, trust: bool = False) -> dict[str, Any]:
    """Read a ``.safetensors`` or torch file onto the CPU.

    ``trust`` unpickles whatever the file holds: that can run any code its author put
    there. Raises ValueError if it is an address, missing, broken, or needs ``trust``.
    """
    if '://' in str(path):
        raise ValueError(
            f'Cannot read the checkpoint {path}: expected a file, got an address. '
            'Download it, and give the path.'
        )
    path = Path(path)
    if not path.is_file():
        kind = 'a folder' if path.is_dir() else 'no such file'
        raise ValueError(f'Cannot read the checkpoint {path}: {kind}.')
    size = f'{path.stat().st_size:,} bytes'
    try:
        if path.suffix == '.safetensors':
            return load_file(path)
        content = _torch_load(path, trust)
    except pickle.UnpicklingError as error:
        if refused := _REFUSED.search(str(error)):
            what = refused[1] or refused[2] or 'Python objects'
            raise ValueError(
                f'{path} ({size}) holds more than weights ({what}), as old training '
                'files do. Reading it can run any code its author put into it: only '
                'if you trust where it came from, pass --trust (trust=True).'
            ) from error
        raise ValueError(_broken(path, size, error)) from error
    except Exception as error:
        raise ValueError(_broken(path, size, error)) from error
    if not isinstance(content, dict):
        raise ValueError(
            f'{path} ({size}) holds a {type(content).__name__}, not the dict that a '
            'checkpoint is.'
        )
    return content


def state_dict_of(checkpoint: Mapping[str, Any]) -> StateDict:
    """The tensors of a checkpoint by name, out of any usual wrapping."""
    state: Mapping[str, Any] = checkpoint
    while wrapper := next(
        (k for k in ('state_dict', 'model', 'module') if _is_dict(state.get(k))), None
    ):
        state = state[wrapper]
    tensors = {k: v for k, v in state.items() if isinstance(v, Tensor)}
    if not tensors:
        raise ValueError(
            'Found no weights: expected tensors by name, at the top or under '
            f"'state_dict', 'model' or 'module'; got the keys {_names(checkpoint)}."
        )
    if all(k.startswith('module.') for k in tensors):  # saved from a DDP wrapper
        tensors = {k.removeprefix('module.'): v for k, v in tensors.items()}
    return tensors


def save_state_dict(
    state: Mapping[str, Tensor],
    path: str | Path,
    metadata: dict[str, str] | None = None,
    key: str = 'state_dict',
) -> None:
    """Write tensors, whole or not at all, as the suffix says (safetensors or torch).

    A torch file is ``{key: tensors, 'meta': metadata}``.
    """
    path = Path(path)
    # Cloned: safetensors refuses views, and the source file may be mapped to memory.
    tensors = {k: v.detach().cpu().contiguous().clone() for k, v in state.items()}
    with whole_file(path) as temporary:
        if path.suffix == '.safetensors':
            save_file(tensors, temporary, metadata={'format': 'pt', **(metadata or {})})
        else:
            torch.save({key: tensors, 'meta': metadata or {}}, temporary)


@dataclass(frozen=True)
class LoadReport:
    """How a module took a state dict; names are the module's, after the prefix.

    ``share`` is the loaded part of the module's own elements (parameters and saved
    buffers, counters and indices left out), ``mismatched`` says for each name the
    shapes of the file and the module.
    """

    share: float
    missing: list[str]
    unexpected: list[str]
    mismatched: dict[str, str]

    def __str__(self) -> str:
        shapes = [f'{name} ({why})' for name, why in self.mismatched.items()]
        lists = {'missing': self.missing, 'unexpected': self.unexpected}
        lists['mismatched'] = shapes
        lines = [f'{self.share:.1%} of its weights loaded']
        lines += [f'  {k} ({len(v)}): {_names(v)}' for k, v in lists.items() if v]
        return '\n'.join(lines)


def load_weights(
    module: nn.Module,
    source: str | Path | Mapping[str, Any],
    prefix: str = '',
    min_share: float = 0.9,
    trust: bool = False,
    logger: Logger | str | None = 'current',
) -> LoadReport:
    """Load a file or state dict, say how much of the module it filled.

    ``prefix`` selects names and is cut off. The module's own load hooks run before
    shapes are compared. Raises ValueError below ``min_share``.
    """
    if isinstance(source, Mapping):
        where, content = 'the given state dict', source
    else:
        where, content = str(source), read_checkpoint(source, trust)
    state = _select(state_dict_of(content), prefix, where)
    while is_model_wrapper(module):
        module = cast(nn.Module, module.module)
    try:
        report = _load(module, dict(state))
    except ValueError as error:
        if isinstance(source, Mapping):
            raise
        raise ValueError(f'{where}: {error}') from error
    text = f'{type(module).__name__}, from {where}: {report}'
    if report.share < min_share:
        raise ValueError(
            f'{text}\nAt least {min_share:.0%} (min_share) are needed.{_hint(content)}'
        )
    print_log(text, logger=logger)
    return report


def _select(state: StateDict, prefix: str, where: str) -> StateDict:
    if not prefix:
        return state
    prefix = prefix.rstrip('.') + '.'
    chosen = {k[len(prefix) :]: v for k, v in state.items() if k.startswith(prefix)}
    if chosen:
        return chosen
    found = sorted({k.split('.')[0] for k in state})
    raise ValueError(
        f"{where} has no weights under the prefix '{prefix}'; it has {_names(found)}. "
        "Take one of these, or prefix='' if they are the model's own names."
        + _hint(state)
    )


def _hint(content: Mapping[str, Any]) -> str:
    """What to do when the file is in another library's names."""
    from mim_zoo.conversion import TITLES, guess_format

    form = guess_format(state_dict_of(content))
    if form in (None, 'ours'):
        return ''
    title = TITLES[form]
    return f' Its names are those of {title}: run tools/convert_checkpoint.py on it.'


@torch.no_grad()
def _load(module: nn.Module, state: StateDict) -> LoadReport:
    """Load as torch does, but keep the state after the hooks and survive shapes."""
    missing: list[str] = []
    unexpected: list[str] = []
    errors: list[str] = []

    def visit(part: nn.Module, prefix: str) -> None:
        part._load_from_state_dict(state, prefix, {}, True, missing, unexpected, errors)
        for name, child in part.named_children():
            visit(child, f'{prefix}{name}.')

    visit(module, '')
    own = {k: v for k, v in module.state_dict().items() if isinstance(v, Tensor)}
    wrong = {
        name: f'{tuple(state[name].shape)} in the file, {tuple(tensor.shape)} here'
        for name, tensor in own.items()
        if name in state and state[name].shape != tensor.shape
    }
    if others := [e for e in errors if not e.startswith('size mismatch')]:
        raise ValueError('Could not load: ' + '; '.join(others))
    sizes = {k: v.numel() for k, v in own.items() if v.is_floating_point()}
    loaded = sum(n for k, n in sizes.items() if k in state and k not in wrong)
    total = sum(sizes.values())
    share = loaded / total if total else 1.0
    return LoadReport(share, missing, list(dict.fromkeys(unexpected)), wrong)


def _torch_load(path: Path, trust: bool) -> Any:
    # Only zip files (torch >= 1.6) can be mapped; others are read whole.
    mapped = zipfile.is_zipfile(path)
    options: dict[str, Any] = {'map_location': 'cpu', 'mmap': mapped}
    if trust:
        return torch.load(path, weights_only=False, **options)
    with _plain_data_allowed():
        return torch.load(path, weights_only=True, **options)


def _plain_data_allowed() -> AbstractContextManager:
    allowed = _plain_data()
    if hasattr(torch.serialization, 'safe_globals'):
        return torch.serialization.safe_globals(allowed)
    torch.serialization.add_safe_globals(allowed)  # torch 2.4: for good
    return nullcontext()


@lru_cache
def _plain_data() -> list[Any]:
    """What MMEngine's training checkpoints hold beside tensors: log histories."""
    core = np._core if hasattr(np, '_core') else np.core  # type: ignore[attr-defined]
    numbers = [np.dtype(code) for code in '?bBhHiIlLqQefdSUO']
    allowed: list[Any] = [HistoryBuffer, np.ndarray, np.dtype, *map(type, numbers)]
    allowed.append(_named('builtins.getattr', _history_method))
    for package in ('numpy.core', 'numpy._core'):  # as numpy 1 and numpy 2 write it
        for function in (core.multiarray._reconstruct, core.multiarray.scalar):
            path = f'{package}.multiarray.{function.__name__}'
            allowed.append(_named(path, function))
    return allowed


def _named(path: str, function: Callable) -> Callable:
    """``function`` under the name that a pickle asks for."""

    def call(*args: Any) -> Any:
        return function(*args)

    call.__module__, _, call.__name__ = path.rpartition('.')
    call.__qualname__ = call.__name__
    return call


def _history_method(owner: Any, name: str) -> Any:
    """All that a pickled HistoryBuffer needs of ``getattr``."""
    if owner is HistoryBuffer and name in ('min', 'max', 'current', 'mean'):
        return getattr(HistoryBuffer, name)
    raise pickle.UnpicklingError(f'GLOBAL getattr of {name} is not plain data')


def _is_dict(value: Any) -> bool:
    return isinstance(value, Mapping)


def _names(names: Any) -> str:
    names = [str(name) for name in names]
    rest = f', ... and {len(names) - _SHOWN} more' if len(names) > _SHOWN else ''
    return ', '.join(names[:_SHOWN]) + rest


def _broken(path: Path, size: str, error: Exception) -> str:
    first = (str(error).strip() or type(error).__name__).splitlines()[0]
    return (
        f'{path} ({size}) is not a readable checkpoint: it may be truncated, empty or '
        f'something else ({first[:200]}).'
    )
